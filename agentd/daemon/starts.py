"""A start, from the wish to the exec: forked, recorded, then let go.

The child waits at its gate until who it is can be read by a later daemon. A crash at any
point leaves either nothing (the gate closes, the child exits) or a process that is on record.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from msgspec import structs

from agentd.config.agent import AgentConfig
from agentd.config.internal import missing_extra
from agentd.config.names import INTERNAL
from agentd.core.effects import (
    Diagnose,
    Freeze,
    Judge,
    KillTree,
    Run,
    Signal,
    Spawn,
    Thaw,
    Validate,
)
from agentd.core.events import Event, Exited, SpawnFailed, TreeEmpty, Validated
from agentd.daemon.channels import CHANNEL_ENV
from agentd.daemon.clock import wall_ms
from agentd.daemon.launch import Outfit
from agentd.daemon.log import log
from agentd.daemon.logs import LogRefused
from agentd.daemon.processes import Prepared, Processes
from agentd.daemon.programs import SHORTAGES
from agentd.daemon.registry import Incarnation, Registry
from agentd.store.rows import Batch, Outcome, SpawnRow


class Ears(Protocol):
    """Where an incarnation can reach us by sd_notify."""

    def open(self, incarnation: Incarnation) -> str:
        """Open its datagram socket and return the path; OSError: there can be none."""
        ...

    def path_of(self, incarnation_id: str) -> str: ...


class FdStore(Protocol):
    """The service manager, as far as it keeps descriptors for us; False: it doesn't."""

    def keep_fd(self, name: str, fd: int) -> bool: ...

    def drop_fd(self, name: str) -> bool: ...


class Output(Protocol):
    """Where an agent's output goes."""

    @property
    def directory(self) -> Path: ...

    def child_fd(self, agent: str, max_size_bytes: int) -> int:
        """Return an append-only fd to hand to a child, the caller's to close.

        Raises `LogRefused` and OSError: there can be none now.
        """
        ...

    def evidence(self) -> str:
        """Return what is wrong with the disk of the logs, if that may explain an exit."""
        ...


class Channels(Protocol):
    """Where internal agents can reach us in a role of their own."""

    def open(self, agent: str, ordinal: int) -> int | None:
        """Return the child's end of a channel, the caller's to close; None: it gets none."""
        ...

    def serve(self, incarnation: Incarnation) -> None: ...

    def call_off(self, agent: str, ordinal: int) -> None: ...


class Errands(Protocol):
    """Commands of the config that are run once and answered for."""

    def validate(self, effect: Validate, config: AgentConfig) -> None: ...

    def run(self, effect: Run, config: AgentConfig) -> None: ...


class Judges(Protocol):
    """Whoever asks an agent's judge, and answers for it whatever comes of it."""

    def judge(self, effect: Judge, config: AgentConfig | None) -> None: ...


class Looks(Protocol):
    """Whoever looks at agents, and answers whatever comes of it."""

    def diagnose(self, effect: Diagnose, config: AgentConfig | None) -> None: ...

    def leader_ended(self, agent: str, incarnation: int) -> None: ...

    def tree_empty(self, agent: str, incarnation: int) -> None: ...


@dataclass(slots=True)
class Starts:
    """The world as the performer sees it: `processes`, and what a start needs besides."""

    aio: asyncio.AbstractEventLoop
    post: Callable[[Event], None]
    submit: Callable[[Batch, Callable[[Outcome], None]], None]
    processes: Processes
    registry: Registry
    ears: Ears
    output: Output
    errands: Errands
    judges: Judges
    looks: Looks
    config_of: Callable[[str], AgentConfig | None]
    """The agent's config with the variables of its files; None: it is gone by now."""
    manager: FdStore
    channels: Channels
    socket: Path
    state_dir: Path
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def tell(self, event: Event) -> None:
        """Pass on what the processes say; an incarnation is a border, drawn before the core
        hears of its end: what it said until then is heard first, and nothing after.
        """
        if isinstance(event, Exited):
            self.looks.leader_ended(event.agent, event.incarnation)
            self.processes.expect_start()  # most ends are followed by one
            self.registry.end(event.agent, event.incarnation)
            note = self.output.evidence()
            if note and not event.evidence.note:
                event = replace(event, evidence=replace(event.evidence, note=note))
        elif isinstance(event, TreeEmpty | SpawnFailed):
            self.looks.tree_empty(event.agent, event.incarnation)
            ended = self.registry.get(event.agent, event.incarnation)
            self.registry.remove(event.agent, event.incarnation)
            self.post(event)
            if ended is not None:
                # After the event is handled, and what is to be written of the end is handed in.
                self.aio.call_soon(self._give_up_pidfd, ended.id)
            return
        self.post(event)

    def _give_up_pidfd(self, incarnation_id: str) -> None:
        """Have it kept no longer once the end is on disk: if we are killed before that, whoever
        comes after us has nothing else to know the end by.
        """

        def on_disk(_: Outcome) -> None:
            self.manager.drop_fd(incarnation_id)

        self.submit(Batch(()), on_disk)

    def spawn(self, effect: Spawn) -> None:
        task = self.aio.create_task(self._spawn(effect))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def signal(self, effect: Signal) -> None:
        self.processes.signal(effect)

    def kill_tree(self, effect: KillTree) -> None:
        self.processes.kill_tree(effect)

    def freeze(self, effect: Freeze) -> None:
        self.processes.freeze(effect)

    def thaw(self, effect: Thaw) -> None:
        self.processes.thaw(effect)

    def validate(self, effect: Validate) -> None:
        config = self.config_of(effect.agent)
        if config is not None:
            self.errands.validate(effect, config)
        else:
            told = "it is no longer in the config"
            self.post(Validated(effect.agent, effect.incarnation, ok=False, evidence=told))

    def run(self, effect: Run) -> None:
        config = self.config_of(effect.agent)
        if config is not None:
            self.errands.run(effect, config)

    def judge(self, effect: Judge) -> None:
        self.judges.judge(effect, self.config_of(effect.agent))

    def diagnose(self, effect: Diagnose) -> None:
        self.looks.diagnose(effect, self.config_of(effect.agent))

    def variables(self, effect: Spawn, channel_fd: int | None) -> Mapping[str, str]:
        """Return what an agent finds in its environment beside what its config says."""
        found = {
            "AGENTD_SOCKET": str(self.socket),
            "NOTIFY_SOCKET": self.ears.path_of(effect.incarnation_id),
        }
        if channel_fd is None:
            return found
        # As systemd names it, and as our own programs look it up beside the config.
        return {**found, CHANNEL_ENV: str(channel_fd), "STATE_DIRECTORY": str(self.state_dir)}

    async def _spawn(self, effect: Spawn) -> None:
        """Begin one start; whatever goes wrong is told as an event, never raised."""
        prepared: Prepared | SpawnFailed | None = None
        try:
            prepared = await self._prepare(effect)
            self._go_on(effect, prepared)
        except Exception as error:  # noqa: BLE001 - the core waits for an answer
            log.error("spawn.failed", agent=effect.agent, error=repr(error))
            if isinstance(prepared, Prepared):
                self.processes.cancel(prepared)  # or it would wait at its gate for ever
                self.registry.remove(effect.agent, effect.incarnation)
            self.channels.call_off(effect.agent, effect.incarnation)
            told = f"{type(error).__name__}: {error}"
            short = isinstance(error, OSError) and error.errno in SHORTAGES
            self.post(SpawnFailed(effect.agent, effect.incarnation, told, shortage=short))

    async def _prepare(self, effect: Spawn) -> Prepared | SpawnFailed:
        config = self.config_of(effect.agent)
        if config is None:
            return SpawnFailed(effect.agent, effect.incarnation, "it is no longer in the config")
        if effect.agent in INTERNAL and (missing := missing_extra(effect.agent)):
            return SpawnFailed(effect.agent, effect.incarnation, missing)
        try:
            log_fd = self.output.child_fd(effect.agent, config.logs.max_size_bytes)
        except (OSError, LogRefused) as error:
            # No fault of the agent's: it is tried again, and starts once there is a log for it.
            log.error("log.unusable", agent=effect.agent, error=error)
            why = error.strerror if isinstance(error, OSError) else error
            told = f"there is no log for it in {self.output.directory}: {why}"
            return SpawnFailed(effect.agent, effect.incarnation, told, shortage=True)
        channel_fd: int | None = None
        try:
            channel_fd = self.channels.open(effect.agent, effect.incarnation)
            variables = self.variables(effect, channel_fd)
            outfit = Outfit(log_fd, variables, config.directory or "/", channel_fd)
            return await self.processes.prepare(effect, config, outfit)
        finally:
            os.close(log_fd)
            if channel_fd is not None:
                os.close(channel_fd)

    def _go_on(self, effect: Spawn, prepared: Prepared | SpawnFailed) -> None:
        if isinstance(prepared, SpawnFailed):
            self.channels.call_off(effect.agent, effect.incarnation)
            self.post(prepared)
            return
        incarnation = Incarnation(
            agent=prepared.agent,
            ordinal=prepared.incarnation,
            id=prepared.incarnation_id,
            token=prepared.token,
            leader_pid=prepared.pid,
            cgroup=prepared.cgroup,
            uid=prepared.uid,
            leader_inode=prepared.pidfd_inode,
        )
        self.registry.add(incarnation)
        self.channels.serve(incarnation)
        # Whoever holds it when we are gone can tell how the agent ended.
        self.manager.keep_fd(incarnation.id, prepared.pidfd)
        try:
            self.ears.open(incarnation)
        except OSError as error:
            log.warning("notify.failed", agent=effect.agent, error=error)

        def durable(outcome: Outcome) -> None:
            if outcome.error:  # supervision goes on in memory
                log.error("spawn.unrecorded", agent=effect.agent, error=outcome.error)
            self.processes.release(prepared)

        self.submit(Batch((spawn_row(prepared),)), durable)


def spawn_row(prepared: Prepared) -> SpawnRow:
    """Return what a later daemon needs to know this process again."""
    return SpawnRow(
        agent=prepared.agent,
        incarnation=prepared.incarnation,
        incarnation_id=prepared.incarnation_id,
        token=prepared.token,
        pid=prepared.pid,
        start_time=prepared.start_time,
        pidfd_inode=prepared.pidfd_inode or None,
        boot_id=prepared.boot_id,
        cgroup=prepared.cgroup or None,
        wall_ms=wall_ms(),
    )


def with_variables(config: AgentConfig, variables: Mapping[str, str]) -> AgentConfig:
    """Return the config with the variables of its environment files in it."""
    return structs.replace(config, environment=dict(variables))
