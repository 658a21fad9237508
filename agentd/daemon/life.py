"""The life of one daemon: start, reload, re-exec, stop.

`start` follows FAULTS §5: the store is open and ours; what lives is found and adopted, its
fate told to the core; then the socket takes visitors; and last comes the word that we are ready.
"""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from agentd.config.diff import Plan
from agentd.config.loaded import Loaded
from agentd.core.events import Fate, ShutdownAsked, Started, StorageChanged, Ticked
from agentd.core.records import Baseline, Record
from agentd.daemon import externals, stored
from agentd.daemon.access import access_of, mode_of
from agentd.daemon.assembly import Assembly
from agentd.daemon.cgroups import CgroupForest
from agentd.daemon.civilclock import CivilClock
from agentd.daemon.clock import boottime_ms, wall_ms
from agentd.daemon.handover import Handover
from agentd.daemon.log import log
from agentd.daemon.offload import TooBusy
from agentd.daemon.pricebook import LOOK_EVERY_TICKS, LOOK_FIRST_TICK, PriceBook
from agentd.daemon.recovery import Recorded, Recovery
from agentd.daemon.registry import Incarnation
from agentd.daemon.reload import InvalidConfig
from agentd.daemon.requests import Asked
from agentd.daemon.startcheck import CannotStart, check_installed
from agentd.daemon.watch import ConfigWatch, watched
from agentd.store.retention import Bounds
from agentd.wire.prices import FILE_NAME as PRICES

STATUS_EVERY_TICKS: Final = 5
TIDY_EVERY_TICKS: Final = 60


class Life:
    """What happens to the parts, in which order."""

    def __init__(self, parts: Assembly) -> None:
        self._parts = parts
        self._recovery: Recovery | None = None
        self._unclaimed: set[str] = set()
        """Recorded agents that are left alone because their file is wrong."""
        self._watch: ConfigWatch | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ticks = 0
        self._civil = CivilClock(parts.loop.post, wall_ms)
        self._prices = PriceBook(
            parts.givens.places.state_dir / PRICES,
            parts.loop.post,
            parts.offload,
            parts.errands,
            wall_ms,
        )
        self._baselines: dict[str, Baseline] = {}
        """What the work of recorded agents usually costs, until they are told of it."""
        self._stopping = False
        self.is_up = False
        """Ready, and said so."""
        self.wants_reexec = False
        parts.reloader.apply = self._apply
        parts.deeds["reload"] = self._asked_reload
        parts.deeds["shutdown"] = self._asked_shutdown
        parts.deeds["reexec"] = self._asked_reexec

    # --- start

    async def start(self) -> None:
        """Find out what lives, tell the core, and open the door."""
        parts, manager = self._parts, self._parts.givens.manager
        parts.alerts.start()
        await self._recover()
        parts.logs.start()
        parts.processes.orphans.attend()
        config = parts.reloader.loaded.config
        externals.register(parts.registry, config.agents)
        self._preload_answers()
        parts.loop.each_tick(self._tick)
        parts.server.start()
        parts.loop.start()
        self._watch_files(parts.reloader.loaded)
        manager.ready()
        self.is_up = True
        log.info(
            "daemon.ready",
            agents=parts.configured,
            socket=parts.givens.places.socket,
            isolation=parts.facts.isolation,
        )
        parts.diagnoses.announce()

    async def _recover(self) -> None:
        parts, store = self._parts, self._parts.store
        durables = {name: one.durable for name, one in store.agents().items()}
        intents, kept = store.spawn_intents(), parts.givens.kept_pidfds
        recorded = Recorded(durables, store.spawns(), intents, kept)
        if store.rebuilt:
            self._tell_rebuilt()
        forest = parts.forest
        populated = forest.populated() if isinstance(forest, CgroupForest) else {}
        host, processes = parts.givens.host, parts.processes
        recovery = Recovery(
            recorded,
            host.boot_id,
            processes,
            parts.config_of,
            self._welcome,
            str(parts.givens.places.socket),
        )
        loaded = parts.reloader.loaded
        self._baselines = stored.baselines(store)
        await self._prices.read()
        await recovery.look(loaded.broken | loaded.config.agents.keys(), populated)
        # Between the adoptions and the event that tells of them nothing may happen.
        self._recovery = recovery
        self._unclaimed = set(recorded.durables) & loaded.broken
        for name in self._unclaimed:
            log.error("agent.unclaimed", agent=name, why="its config is wrong; left as it is")
        found = recovery.adopt(recorded.durables.keys() - self._unclaimed)
        if not store.rebuilt:
            recovery.end_strangers()
        if isinstance(forest, CgroupForest):
            claimed = {run.incarnation_id for run in processes.runs()}
            forest.tidy(claimed | recorded.ids_of(self._unclaimed))
        parts.performer.carry(found.rows)
        self._civil.use(loaded.config.daemon.timezone)
        fates = self._with_baselines(found.fates)
        spent = stored.spending(store)
        parts.loop.post(Started(fates, *stored.incidents(store), spent))
        if store.unavailable:
            parts.loop.post(StorageChanged(ok=False, evidence=store.unavailable))
        self._give_back(recorded)

    def _with_baselines(self, fates: Mapping[str, Fate]) -> dict[str, Fate]:
        """Return the fates with what each agent's work usually costs."""
        return {
            name: replace(fate, baseline=self._baselines.pop(name, None))
            for name, fate in fates.items()
        }

    def _give_back(self, recorded: Recorded) -> None:
        """Let the service manager drop what it kept of incarnations that are over.

        After a re-exec it has handed us nothing, and still keeps what it kept.
        """
        claimed = {row.incarnation_id: name for name, row in recorded.spawns.items()}
        for incarnation_id, fd in recorded.kept_pidfds.items():
            if incarnation_id not in claimed:
                os.close(fd)  # of the others, recovery has taken charge
        alive = {incarnation.id for incarnation in self._parts.registry}
        alive |= recorded.ids_of(self._unclaimed)
        for incarnation_id in (recorded.kept_pidfds.keys() | claimed.keys()) - alive:
            self._parts.givens.manager.drop_fd(incarnation_id)

    def _tell_rebuilt(self) -> None:
        store = self._parts.store
        told = (
            f"the store was damaged ({store.damage}); it stands in quarantine as "
            f"{store.quarantined}, a new one was begun, {store.salvaged} agents are known"
        )
        self._parts.loop.note(Record("daemon.storage", "critical", told))

    def _welcome(self, incarnation: Incarnation) -> None:
        """Let an adopted incarnation speak, on its old addresses."""
        self._parts.registry.add(incarnation)
        try:
            self._parts.ears.open(incarnation)
        except OSError as error:
            log.warning("notify.failed", agent=incarnation.agent, error=error)

    def _preload_answers(self) -> None:
        """Answer again what the daemon before us answered in the last ten minutes."""
        now_wall_ms, now_ms = wall_ms(), boottime_ms()
        for row in self._parts.store.requests(now_wall_ms):
            if row.reply is not None:
                self._parts.hall.replays.preload(
                    row.uid,
                    json.loads(row.id),
                    bytes.fromhex(row.args_hash),
                    row.reply.encode(),
                    now_ms - max(0, now_wall_ms - row.wall_ms),
                )

    # --- life

    def on_signal(self, number: signal.Signals) -> None:
        """Do what a signal means."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self._shut_down(number.name)
        elif number is signal.SIGHUP:
            self._begin_reload("SIGHUP", remove=True)
        elif number is signal.SIGUSR2:
            self._begin_reexec("SIGUSR2")

    def _shut_down(self, who: str) -> None:
        if self._stopping:
            log.info("daemon.stopping", message="it is under way; agents keep their stop_timeout")
            return
        self._stopping = True
        self._parts.givens.manager.stopping()
        self._parts.loop.post(ShutdownAsked(who))

    def _tick(self) -> None:
        """Once a second: the watchdog, and now and then a word about the fleet."""
        manager = self._parts.givens.manager
        manager.catch_up()
        if manager.watchdog_ms and self._ticks % max(1, manager.watchdog_ms // 4_000) == 0:
            manager.watchdog()
        if self._ticks % STATUS_EVERY_TICKS == 0:
            agents = self._parts.operators_own()
            alive = sum(agent.has_process for agent in agents)
            manager.status(f"{len(agents)} agents, {alive} alive")
        if self._ticks % TIDY_EVERY_TICKS == 0:
            self._parts.logs.keep_only(self._parts.supervisor.agents)
        self._civil.look()
        self._parts.ping.tick()
        self._parts.reports.tick()
        if self._ticks % LOOK_EVERY_TICKS == LOOK_FIRST_TICK:
            self._look_at_prices()
        self._ticks += 1

    def _look_at_prices(self) -> None:
        self._keep(self._parts.aio.create_task(self._prices.look()))

    def _watch_files(self, loaded: Loaded) -> bool:
        """Watch the files that this config was read from, if it says so; True: other ones now.

        Whoever watches the right ones goes on: a reload that somebody asked for is followed
        by one of the watch, which finds nothing to do.
        """
        parts, main = self._parts, self._parts.givens.places.config_file
        wanted = watched(loaded, main) if loaded.config.daemon.watch else []
        if self._watch is not None:
            if self._watch.places == wanted:
                return False
            self._watch.stop()
            self._watch = None
        if not wanted:
            return False
        reload = partial(self._begin_reload, "the watch", remove=False)

        def changed() -> None:  # in the watching thread
            parts.aio.call_soon_threadsafe(reload)

        self._watch = ConfigWatch(wanted, changed)
        return self._watch.start()

    def _admit(self, loaded: Loaded) -> None:
        """Let in whom this config lets in; the socket may have another mode under it."""
        access = access_of(loaded.config, self._parts.givens.places.socket)
        try:
            self._parts.server.admit(access, mode_of(access))
        except OSError as error:
            log.error("socket.mode", error=error, hint="it takes a restart of agentd")

    def _begin_reload(self, who: str, *, remove: bool) -> None:
        """Reload with nobody waiting for the plan."""

        async def work() -> None:
            try:
                await self._parts.reloader.reload(who=who, remove=remove)
                self._look_at_prices()
            except InvalidConfig as error:
                log.error("config.rejected", asked_by=who, errors=str(error))
            except (TooBusy, OSError) as error:
                log.error("config.unread", asked_by=who, error=error)

        self._keep(self._parts.aio.create_task(work()))

    async def _asked_reload(self, asked: Asked) -> Mapping[str, object]:
        dry_run = bool(asked.command.args.get("dry_run"))
        try:
            document = await self._parts.reloader.reload(who=asked.who, dry_run=dry_run)
        except InvalidConfig as error:
            return error.document
        self._look_at_prices()
        return document

    async def _asked_shutdown(self, asked: Asked) -> Mapping[str, object]:
        self._shut_down(asked.who)
        return {"stopping": True}

    async def _check_reexec(self) -> None:
        """Raise what `Reloader.check` does, or `CannotStart`, where we would be gone by it."""
        await self._parts.reloader.check()
        await check_installed(self._parts.errands)
        if self._stopping:
            raise CannotStart("agentd is stopping")
        if trouble := self._parts.storage_error():
            raise CannotStart(f"what only this process remembers would be lost: {trouble}")

    async def _asked_reexec(self, asked: Asked) -> Mapping[str, object]:
        await self._check_reexec()
        # The answer first: the connection doesn't outlive the exec.
        self._parts.aio.call_soon(self._reexec, asked.who)
        return {"reexec": True}

    def _begin_reexec(self, who: str) -> None:
        """Re-exec with nobody waiting for an answer."""

        async def work() -> None:
            try:
                await self._check_reexec()
            except (InvalidConfig, CannotStart, TooBusy, OSError) as error:
                log.error("daemon.reexec", asked_by=who, why=f"it would not start again: {error}")
            else:
                self._reexec(who)

        self._keep(self._parts.aio.create_task(work()))

    def _reexec(self, who: str) -> None:
        if not self._stopping:
            log.info("daemon.reexec", asked_by=who)
            self.wants_reexec = True
            self._parts.server.hear_out()
            self._parts.loop.end_when_empty()

    def _apply(self, loaded: Loaded, plan: Plan) -> Mapping[str, Fate]:
        """Take over what a new config means for the shell."""
        parts, daemon = self._parts, loaded.config.daemon
        log.level = daemon.log_level
        self._civil.use(daemon.timezone)
        parts.hall.visitors.config = daemon
        self._admit(loaded)
        parts.store.set_bounds(Bounds(daemon.history_days, daemon.history_max_bytes))
        parts.recorder.set_max(daemon.recorder_max_bytes)
        externals.register(parts.registry, loaded.config.agents)
        parts.describe(loaded)
        parts.alerts.use(loaded.config)
        for change in plan.applied:
            agent = loaded.config.agents[change.agent]
            parts.processes.apply(change.agent, agent)
            parts.logs.bound(change.agent, agent.logs.max_size_bytes)
        if self._watch_files(loaded):
            # For what was edited between that reading and this moment.
            self._begin_reload("the watch", remove=False)
        claimed = self._unclaimed & set(plan.added)
        self._unclaimed -= claimed
        assert self._recovery is not None
        found = self._recovery.adopt(claimed)
        parts.performer.carry(found.rows)
        return self._with_baselines(found.fates)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- end

    async def ended(self) -> None:
        """Wait until every agent is down, or a re-exec is wanted."""
        await self._parts.loop.ended

    def close(self) -> None:
        """Let go of everything and touch no agent; what was decided is on disk afterwards."""
        parts = self._parts
        self._flush_counters()
        if self._watch is not None:
            self._watch.stop()
        parts.server.stop()
        parts.requests.close(answer=not self.wants_reexec)
        parts.alerts.close()
        parts.judges.close()
        parts.diagnoses.close()
        parts.errands.close()
        parts.sampler.close()
        parts.ears.close()
        parts.processes.close()
        for connection in parts.hall.visitors.everyone():
            connection.close()
        parts.recorder.close()
        parts.logs.close()
        if not parts.store.close():
            log.error("daemon.storage", message="the disk was too slow to take the last records")
        parts.offload.close()

    def _flush_counters(self) -> None:
        """Keep what agents said since their counters were last written."""
        words = self._parts.supervisor.last_words(boottime_ms())
        if words:
            self._parts.performer.perform(Ticked(), words)

    def leave(self) -> None:
        """Take the socket and the lock away: the daemon is over."""
        self._parts.server.close()
        self._parts.givens.lock.release()

    def hand_over(self, private: Mapping[str, str]) -> None:
        """Become the next image, after `close`; returns only by OSError."""
        listener, givens = self._parts.listener, self._parts.givens
        Handover(
            givens.lock.fd, listener.sock.fileno(), listener.lock_fd, givens.host.agent_limits
        ).follow(private)
