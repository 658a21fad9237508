"""Looks at agents for the core: at one that is stalled, before anything is done to it, and at
what an end left behind.

In threads of their own, for each look may wait: for py-spy, for /proc, for a disk. Whatever
comes of it, the core is answered within `LOOK_S_MAX`, with what was found by then.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from agentd.config.agent import AgentConfig
from agentd.core.effects import Diagnose
from agentd.core.events import Diagnosed, Event
from agentd.daemon import procfs, remains, stall
from agentd.daemon.cgroups import CgroupTree
from agentd.daemon.log import log
from agentd.daemon.logs import LogFile, LogRefused
from agentd.daemon.pressure import memory_events_of, throttling_of
from agentd.daemon.remains import Dead
from agentd.daemon.runs import Run
from agentd.daemon.stacks import find_reader
from agentd.daemon.stall import Findings, Stalled
from agentd.daemon.tree import Members

# A look waits for most of its time, and py-spy wants CPU: with eight threads, some of fifty agents
# that hang at once were not seen at all on two cores; with two, few of them in full.
THREADS: Final = 6
# The core waits 3 s; the rest is for the way there and back.
LOOK_S_MAX: Final = 2.5
# What is kept of runs that have ended until the core asks, in the step that is told; it doesn't
# ask about those that ended well. Ten times what a host has of agents.
ENDED_MAX: Final = 1_024
_CAP_SYS_PTRACE: Final = 19
_SCOPE: Final = Path("/proc/sys/kernel/yama/ptrace_scope")


class LogFiles(Protocol):
    """The logs of agents, and what of them nobody may be shown."""

    secrets: tuple[bytes, ...]

    def file(self, agent: str, max_size_bytes: int | None = None) -> LogFile: ...


class Runs(Protocol):
    """Whoever knows the processes of an agent."""

    def run_of(self, agent: str, incarnation: int) -> Run | None: ...


@dataclass(slots=True)
class _Ended:
    """What was noted of a run while it could still be seen."""

    pid: int = 0
    uid: int = 0
    log_until: int | None = None
    memory_events: dict[str, int] = field(default_factory=dict)
    throttling: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Diagnoses:
    """All looks; one that never comes back holds a thread, and nothing else."""

    aio: asyncio.AbstractEventLoop
    post: Callable[[Event], None]
    runs: Runs
    logs: LogFiles
    find_reader: Callable[[], str] = find_reader
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="diagnosis")
    )
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _ended: OrderedDict[tuple[str, int], _Ended] = field(default_factory=OrderedDict)

    def announce(self) -> None:
        """Say once where stacks can't be read, so that nobody learns it at night."""
        why = why_no_stacks(self.find_reader())
        if why:
            log.info("stacks.unreadable", why=why, instead="agentd.allow_stack_dump()")

    def diagnose(self, effect: Diagnose, config: AgentConfig | None) -> None:
        """Look; `Diagnosed` follows in any case. `config` None: the agent is gone by now."""
        dead = effect.kind == "death"
        look = self._look_at_remains(effect, config) if dead else self._look_at_stalled(effect)
        task = self.aio.create_task(self._answer(effect, look))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def leader_ended(self, agent: str, incarnation: int) -> None:
        """Note what is gone as soon as the tree is."""
        run = self.runs.run_of(agent, incarnation)
        if run is not None:
            cgroup = _directory_of(run)
            events, throttling = memory_events_of(cgroup), throttling_of(cgroup)
            self._note(agent, incarnation, _Ended(run.pid, run.uid, None, events, throttling))

    def tree_empty(self, agent: str, incarnation: int) -> None:
        """Note where its log ends: what is written from now on is the next run's.

        Where its log is being trimmed, nothing is noted: the loop waits for no disk.
        """
        ended = self._ended.get((agent, incarnation), _Ended())
        file = self._log_of(agent)
        try:
            ended.log_until = file.end_soon() if file is not None else None
        except OSError as error:
            log.warning("diagnosis.log_unread", agent=agent, error=error)
        self._note(agent, incarnation, ended)

    def _note(self, agent: str, incarnation: int, ended: _Ended) -> None:
        self._ended[agent, incarnation] = ended
        while len(self._ended) > ENDED_MAX:
            self._ended.popitem(last=False)

    def close(self) -> None:
        """Wait for nothing any more."""
        for task in self._tasks:
            task.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, effect: Diagnose, look: "Look | None") -> None:
        """Answer when the look is over or its time is up."""
        findings = Findings(dict(effect.context))
        try:
            if look is not None:
                await self._examine(look, findings)
        except TimeoutError:
            findings.evidence["note"] = f"the look was not over after {LOOK_S_MAX:g} s"
        except Exception as error:  # noqa: BLE001 - the core waits for an answer
            log.error("diagnosis.failed", agent=effect.agent, error=repr(error))
            findings.evidence["note"] = f"it could not be looked at: {error!r}"
        self.post(
            Diagnosed(
                effect.agent,
                effect.incarnation,
                effect.kind,
                effect.asked_at_ms,
                findings.line,
                dict(findings.evidence),
            )
        )

    async def _examine(self, look: "Look", findings: Findings) -> None:
        """Have a thread look, for as long as is left when it comes to it."""
        until_s = time.monotonic() + LOOK_S_MAX
        async with asyncio.timeout(LOOK_S_MAX):
            if isinstance(look, _LookAtTree):
                members = await look.run.tree.members()
                examine = partial(look.examine, members, until_s, findings)
            else:
                examine = partial(remains.collect, look.dead, findings.evidence)
            await self.aio.run_in_executor(self._pool, examine)

    def _look_at_stalled(self, effect: Diagnose) -> "Look | None":
        run = self.runs.run_of(effect.agent, effect.incarnation)
        if run is None:
            return None
        file, secrets = self._log_of(effect.agent), self.logs.secrets
        return _LookAtTree(run, file, secrets, self.find_reader, effect.stack_signal)

    def _look_at_remains(self, effect: Diagnose, config: AgentConfig | None) -> "Look":
        ended = self._ended.pop((effect.agent, effect.incarnation), _Ended())
        return _LookAtRemains(
            Dead(
                pid=ended.pid,
                uid=ended.uid,
                directory=config.directory if config is not None else "",
                log=self._log_of(effect.agent),
                log_until=ended.log_until,
                secrets=tuple(self.logs.secrets),
                memory_events=ended.memory_events,
                throttling=ended.throttling,
            )
        )

    def _log_of(self, agent: str) -> LogFile | None:
        try:
            return self.logs.file(agent)
        except (OSError, LogRefused):
            return None


@dataclass(frozen=True, slots=True)
class _LookAtTree:
    run: Run
    log: LogFile | None
    secrets: Sequence[bytes]
    find_reader: Callable[[], str]
    """Looks into every directory of PATH, wherever that may be: for the thread."""
    stack_signal: int

    def examine(self, members: Members, until_s: float, findings: Findings) -> None:
        stall.examine(self.stalled(members), until_s, findings)

    def stalled(self, members: Members) -> Stalled:
        run = self.run
        return Stalled(
            pid=run.pid,
            start_time=run.identity.start_time,
            members=members,
            cgroup=_directory_of(run),
            log=self.log,
            secrets=tuple(self.secrets),
            reader=self.find_reader(),
            stack_signal=self.stack_signal,
            is_frozen=lambda: run.is_frozen,
        )


@dataclass(frozen=True, slots=True)
class _LookAtRemains:
    dead: Dead


Look = _LookAtTree | _LookAtRemains


def _directory_of(run: Run) -> Path | None:
    return run.tree.directory if isinstance(run.tree, CgroupTree) else None


def why_no_stacks(reader: str) -> str:
    """Return why stacks of agents can't be read here, for people; empty: they can be."""
    if not reader:
        return "py-spy is not installed: pip install 'agentd-supervisor[stacks]'"
    if procfs.cap_effective() >> _CAP_SYS_PTRACE & 1:
        return ""
    scope = (procfs.read(str(_SCOPE)) or b"0").strip()
    if scope == b"0":
        return ""
    return f"kernel.yama.ptrace_scope is {scope.decode()} and agentd lacks CAP_SYS_PTRACE"
