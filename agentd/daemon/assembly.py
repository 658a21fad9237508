"""The composition: every part made once, in order, and wired to the others.

Nothing here decides, and nothing moves yet: what happens when is in `life.py`.
"""

import asyncio
import hashlib
import os
import random
import secrets
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.config.agent import AgentConfig
from agentd.config.diff import Plan
from agentd.config.loaded import Loaded
from agentd.config.masking import secrets_of
from agentd.config.places import Places
from agentd.core.agent import Agent
from agentd.core.effects import Control
from agentd.core.events import Event, Fate, StorageChanged
from agentd.core.records import Record
from agentd.core.select import without_internal
from agentd.core.supervisor import Supervisor
from agentd.daemon import grounds, launch
from agentd.daemon.access import access_of, isolation_of, mode_of
from agentd.daemon.alertanswers import AlertAnswers
from agentd.daemon.alerts import Alerts, Surroundings
from agentd.daemon.answers import Answers, History
from agentd.daemon.cgroups import CgroupForest
from agentd.daemon.channels import Channels
from agentd.daemon.checkpoints import Checkpoints
from agentd.daemon.clock import Calendar, boottime_ms, wall_ms
from agentd.daemon.diagnosis import Diagnoses
from agentd.daemon.door import Door
from agentd.daemon.errands import Errands
from agentd.daemon.facts import Facts
from agentd.daemon.followers import Followers
from agentd.daemon.hall import Hall
from agentd.daemon.handover import Handover
from agentd.daemon.host import Host
from agentd.daemon.incidents import Incidents
from agentd.daemon.judges import Judges
from agentd.daemon.listener import Listener
from agentd.daemon.lock import StateLock
from agentd.daemon.log import log
from agentd.daemon.logkeeper import LogNote, Logs
from agentd.daemon.loop import Loop
from agentd.daemon.masks import Masks
from agentd.daemon.notify import NotifySockets
from agentd.daemon.offload import Offload
from agentd.daemon.performer import Performer
from agentd.daemon.ping import Ping
from agentd.daemon.processes import Processes
from agentd.daemon.questions import Questions
from agentd.daemon.recalls import Recalls
from agentd.daemon.recorder import RecordedCore, Recorder
from agentd.daemon.registry import Registry
from agentd.daemon.reload import Reloader
from agentd.daemon.reports import Reports
from agentd.daemon.requests import Asked, Requests
from agentd.daemon.sampler import Sampler
from agentd.daemon.sdnotify import Systemd
from agentd.daemon.sink_resources import resources_of
from agentd.daemon.sockets import SocketServer
from agentd.daemon.starts import Starts, with_variables
from agentd.daemon.sweep import SweepForest
from agentd.daemon.trace_stream import Traces
from agentd.daemon.voices import Voices
from agentd.store.retention import Bounds
from agentd.store.rows import Outcome
from agentd.store.store import Clocks, Store

Deed = Callable[[Asked], Coroutine[Any, Any, Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class Givens:
    """What was found before there was a loop."""

    host: Host
    places: Places
    loaded: Loaded
    read: Callable[[], Loaded]
    """Reads all config files again."""
    lock: StateLock
    handover: Handover | None
    manager: Systemd
    kept_pidfds: Mapping[str, int]
    """Descriptors that the service manager kept beyond our end, by incarnation id."""


class Assembly:
    """All parts of one daemon."""

    def __init__(self, aio: asyncio.AbstractEventLoop, givens: Givens, talking: set[int]) -> None:
        """Make every part; raises what store, logs, listener and gate raise.

        `talking`: where the descriptors of agents' connections are kept.
        """
        self.aio = aio
        self.givens = givens
        self._talking = talking
        places, loaded, self._name = givens.places, givens.loaded, socket.gethostname()
        self.supervisor = Supervisor(
            loaded.config, jitter=random.SystemRandom().random, new_id=_new_id
        )
        self.masks = Masks()
        log.mask = self.masks.text
        self.recorder = Recorder(
            aio,
            places.state_dir,
            givens.host.boot_id,
            agents=self.supervisor.agents,
            masks=self.masks,
            note=self._note,
        )
        self.loop = Loop(aio, RecordedCore(self.supervisor, self.recorder))
        self.loop.each_tick(self.recorder.tick)
        self.recorder.set_max(loaded.config.daemon.recorder_max_bytes)
        self.offload = Offload(aio)
        self.registry = Registry()
        self.store = self._open_store()
        self.logs = Logs(
            places.log_dir, wall_ms=wall_ms, post=aio.call_soon_threadsafe, on_note=self._log_note
        )
        self.listener = self._listen()
        gate = launch.install_gate(places.runtime_dir)
        self.processes = Processes(aio, self._tell, givens.host, gate)
        self.sampler = Sampler(aio, self.loop.post)
        self.processes.on_running = self.sampler.add
        self.forest = self._plant()
        self.ping = Ping(aio, faults=lambda: self.loop.faults)
        self.errands = Errands(aio, self.loop.post, self.processes, self.masks)
        self.diagnoses = Diagnoses(aio, self.loop.post, self.processes, self.logs)
        self.judges = Judges(aio, self.loop.post, self.errands, self.logs, self.offload)
        self.reloader = Reloader(
            loaded,
            givens.read,
            self.offload,
            self.loop.post,
            self.loop.note,
            _nothing_to_apply,
            givens.manager,
        )
        self.deeds: dict[str, Deed] = {}
        self._wire()

    def _wire(self) -> None:
        """Make the parts that face outwards, and the performer between them."""
        history = History(self.store, self.offload)
        followers = Followers(history)
        self.facts = Facts(
            loop=self.loop,
            agents=lambda: len(self.operators_own()),
            storage=lambda: self.store.health,
            heartbeats=self._heartbeats,
            rejected=lambda: self.hall.counters.rejected,
        )
        self.reports = Reports(
            self.supervisor, self.store, self.offload, self._name, self.masks, wall_ms
        )
        answers = Answers(
            supervisor=self.supervisor,
            facts=self.facts,
            host=self._name,
            history=history,
            followers=followers,
            reloader=self.reloader,
            offload=self.offload,
            logs=self.logs,
            checkpoints=Checkpoints(self.supervisor, self.store, self.offload, Calendar()),
            incidents=Incidents(self.supervisor, self.store, self.offload, self.masks),
            reports=self.reports,
            masks=self.masks,
        )
        self.requests = Requests(
            self.aio,
            self.loop.post,
            answers,
            self.storage_error,
            self.deeds,
            recorded=self._recorded,
        )
        self.questions = Questions(self.loop.post)
        door = Door(self.loop.post, self.loop.note, self.requests, self.questions)
        config = self.givens.loaded.config
        self.hall = Hall.build(self.aio, self.registry, door, config.daemon)
        self.hall.talking = self._talking
        self.access = access_of(config, self.givens.places.socket)
        self.server = SocketServer(self.hall, self.listener, self.access)
        self.channels = Channels(self.hall, config)
        notify_dir = self.givens.places.runtime_dir / "notify"
        self.ears = NotifySockets(self.hall, notify_dir)
        recalls = Recalls(self.aio, self.store, self.offload, self.questions, self.loop.note)
        self.voices = Voices(
            self.requests, self.questions, followers, self._name, self._control, recalls
        )
        self.starts = self._make_starts()
        self._wire_performer()

    def _wire_performer(self) -> None:
        """Make the performer, who tells people, and what counts what they all do."""
        self.performer = Performer(self.store, self.starts, self.voices, self.loop.end, self.masks)
        self.loop.performer = self.performer
        self.alerts = self.performer.alerts = self.reports.sending = self._make_alerts()
        self.describe(self.givens.loaded)
        self.facts.counters["sockets"] = self.hall.counters.as_dict
        self.facts.counters["ping"] = self.ping.counters
        traces = Traces(self.supervisor, self.recorder, self.offload, self.masks)
        self.deeds["trace"] = traces.asked
        self.facts.counters["recorder"] = self.recorder.count
        self.facts.counters["logs"] = lambda: {"bytes_trimmed": self.logs.dropped_bytes}
        self.facts.counters["orphans"] = lambda: {"reaped": self.processes.orphans.reaped}

    def _make_starts(self) -> Starts:
        return Starts(
            aio=self.aio,
            post=self.loop.post,
            submit=self.store.submit,
            processes=self.processes,
            registry=self.registry,
            ears=self.ears,
            output=self.logs,
            errands=self.errands,
            judges=self.judges,
            looks=self.diagnoses,
            config_of=self.config_of,
            manager=self.givens.manager,
            channels=self.channels,
            socket=self.givens.places.socket,
            state_dir=self.givens.places.state_dir,
        )

    def _make_alerts(self) -> Alerts:
        directory = self.givens.places.config_file.parent
        around = Surroundings(
            aio=self.aio,
            store=self.store,
            offload=self.offload,
            host=self._name,
            masks=self.masks,
            resources=resources_of(directory, self.aio, self.errands),
            jitter=random.SystemRandom().random,
            tell=self.performer.tell,
        )
        alerts = Alerts(around, self.givens.loaded.config)
        answers = AlertAnswers(self.aio, alerts, self.store, self.offload, self._name)
        self.deeds["alerts"] = answers.asked
        return alerts

    def _open_store(self) -> Store:
        daemon = self.givens.loaded.config.daemon
        return Store.open(
            self.givens.places.state_dir,
            self.givens.host.boot_id,
            host=self._name,
            clocks=Clocks(boottime_ms, wall_ms),
            post=self.aio.call_soon_threadsafe,
            on_health=lambda ok, why: self.loop.post(StorageChanged(ok, why)),
            on_late=self._late,
            bounds=Bounds(daemon.history_days, daemon.history_max_bytes),
        )

    def _listen(self) -> Listener:
        """Make the socket, or go on with that of the image before us; nobody is let in yet."""
        path, left = self.givens.places.socket, self.givens.handover
        if left is not None:
            return Listener.inherit(path, left.socket_fd, left.socket_lock_fd)
        access = access_of(self.givens.loaded.config, path)
        return Listener.open(path, mode=mode_of(access), gid=access.operator_gid)

    def _plant(self) -> CgroupForest | SweepForest:
        """Choose what holds an agent's processes together: a cgroup where we may have one."""
        ground = grounds.find(ground_name(self.givens.places.state_dir))
        if ground is None:
            forest: CgroupForest | SweepForest = SweepForest(self.aio, self.processes.strangers)
        else:
            forest = CgroupForest(ground, self.aio)
            self.registry.cgroup_root = ground.path_of(ground.base)
        self.processes.forest = forest
        return forest

    # --- what the parts ask of each other

    def config_of(self, agent: str) -> AgentConfig | None:
        """Return an agent's config with the variables of its files."""
        loaded = self.reloader.loaded
        config = loaded.config.agents.get(agent)
        if config is None:
            return None
        return with_variables(config, loaded.environments.get(agent, config.environment))

    @property
    def configured(self) -> int:
        """How many agents operators have configured."""
        return len(without_internal(self.reloader.loaded.config.agents))

    def operators_own(self) -> list[Agent]:
        """Return the agents that operators have configured, which our internal ones are not."""
        return list(without_internal(self.supervisor.agents).values())

    def storage_error(self) -> str:
        """Return why nothing can be recorded; empty while it can."""
        health = self.store.health
        return "" if health == "ok" else health.removeprefix("degraded: ")

    async def _recorded(self) -> str:
        """Wait until all that was posted by now is decided and on disk; return why it isn't."""
        failures = self.performer.failures
        await self.loop.caught_up()
        return await self.performer.recorded(failures)

    def describe(self, loaded: Loaded) -> None:
        """Say what this config means for isolation and secrets, and what of it has no effect."""
        self.masks.hide(secrets_of(loaded))
        self.channels.use(loaded.config)
        self.ping.use(loaded.config.report)
        self.reports.use(loaded.config)
        self.logs.secrets = tuple(secret.encode() for secret in self.masks.secrets)
        cgroups = isinstance(self.forest, CgroupForest)
        self.facts.isolation = isolation_of(loaded.config, cgroups=cgroups)
        self.facts.notices = tuple(dict.fromkeys(notice.key for notice in loaded.notices))

    def _late(self, records: list[Record], outcome: Outcome) -> None:
        self.voices.publish(records, outcome)

    def _heartbeats(self) -> int:
        return sum(agent.durable.heartbeats for agent in self.supervisor.agents.values())

    def _note(self, record: Record) -> None:
        self.loop.note(record)

    def _tell(self, event: Event) -> None:
        self.starts.tell(event)

    def _control(self, effect: Control) -> None:
        self.server.control(effect)

    def _log_note(self, note: LogNote) -> None:
        if note.kind == "trimmed":
            log.debug("log.trimmed", agent=note.agent, bytes=note.dropped_bytes)
            return
        if note.kind == "copied":  # each time on some file systems: nothing for the journal
            log.warning("log.copied", agent=note.agent, message=note.message)
            return
        severity = "info" if note.kind == "ok" else "warning"
        self.loop.note(Record("daemon.storage", severity, note.message, note.agent or None))


def _new_id() -> str:
    return secrets.token_hex(8)


def ground_name(state_dir: Path) -> str:
    """Return a name that is this daemon's alone, and the same at its next start."""
    digest = hashlib.blake2b(os.fsencode(state_dir.resolve()), digest_size=4).hexdigest()
    return f"agentd-{digest}"


def _nothing_to_apply(loaded: Loaded, plan: Plan) -> Mapping[str, Fate]:
    raise AssertionError((loaded, plan))
