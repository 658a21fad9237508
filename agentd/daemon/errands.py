"""Commands of the config that are run once: `validate` before a start, `on_escalate` after all.

Each runs as its agent's user, in a session of its own, with bounded output and a deadline
after which its whole session gets SIGKILL. It is waited for through its pidfd.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from agentd.config.agent import AgentConfig
from agentd.core.effects import Run, Validate
from agentd.core.events import Event, Validated
from agentd.daemon import launch, persons, pidfds
from agentd.daemon.log import log
from agentd.daemon.masks import Masks

OUTPUT_BYTES_MAX: Final = 16 << 10
ANSWER_BYTES_MAX: Final = 64 << 10
# A full pipe is empty after one or two; what it left behind may go on writing for ever.
PIPE_READS_MAX: Final = 4
EVIDENCE_LENGTH_MAX: Final = 500
ESCALATE_TIMEOUT_MS: Final = 60_000
AT_ONCE_MAX: Final = 16


class Parent(Protocol):
    """Who has to know which children are not agents."""

    def helper_started(self, pid: int) -> None: ...

    def helper_ended(self, pid: int) -> None: ...


class Command(Protocol):
    """What is run, and how long it may take."""

    @property
    def timeout_ms(self) -> int: ...

    @property
    def answers(self) -> bool:
        """Whether what it prints on stdout is an answer, and not mixed with stderr."""

    def fork(self, stdout: int, stderr: int) -> int:
        """Start it and return its pid; raises OSError, SpawnError and ValueError."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its wait status in words, and the last it said."""

    ok: bool
    told: str
    answer: bytes = b""
    """What it printed on stdout, where that is an answer: its first `ANSWER_BYTES_MAX` + 1."""


@dataclass(slots=True)
class Errands:
    """Runs commands beside the loop and tells what came of them."""

    aio: asyncio.AbstractEventLoop
    post: Callable[[Event], None]
    parent: Parent
    masks: Masks = field(default_factory=Masks)
    """Applied to all that is told of a command: its output, and what kept it from running."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def validate(self, effect: Validate, config: AgentConfig) -> None:
        """Run the validate command; `Validated` follows, whatever comes of it."""

        def done(ended: Ended) -> None:
            told = f"validate: {ended.told}"
            self.post(Validated(effect.agent, effect.incarnation, ended.ok, told))

        restart = config.restart
        limit_ms = restart.validate_timeout_ms
        self._begin(Errand(effect.agent, restart.validate, config, limit_ms), done)

    def run(self, effect: Run, config: AgentConfig) -> None:
        """Run the on_escalate command with the incident as JSON on its stdin."""

        def done(ended: Ended) -> None:
            write = log.info if ended.ok else log.warning
            write("on_escalate.ended", agent=effect.agent, ok=ended.ok, told=ended.told)

        payload = json.dumps(dict(effect.payload)).encode()
        command = config.restart.on_escalate
        self._begin(Errand(effect.agent, command, config, ESCALATE_TIMEOUT_MS, payload), done)

    def close(self) -> None:
        """Wait for nothing any more; commands under way are ended."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, errand: "Errand", done: Callable[[Ended], None]) -> None:
        if len(self._tasks) >= AT_ONCE_MAX:
            done(Ended(ok=False, told=f"{AT_ONCE_MAX} such commands run already"))
            return

        async def work() -> None:
            done(await self.carry_out(errand))

        task = self.aio.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def carry_out(self, errand: Command) -> Ended:
        """Run a command to its end; one that could not be started has ended too.

        What is told of it has no secrets in it; its answer is as it was given.
        """
        try:
            with contextlib.closing(_Said(self.aio)) as said:
                if not errand.answers:
                    return await self._attend(errand, said, said)
                with contextlib.closing(_Answer(self.aio)) as answer:
                    return await self._attend(errand, answer, said)
        except FileNotFoundError as error:
            name = f"{error.filename} " if error.filename else ""
            return Ended(ok=False, told=self.masks.text(f"{name}does not exist: name its path"))
        except Exception as error:  # noqa: BLE001 - whoever asked waits for an answer
            return Ended(ok=False, told=self.masks.text(str(error) or type(error).__name__))

    async def _attend(self, errand: Command, answer: "_Said", said: "_Said") -> Ended:
        child = errand.fork(answer.writer, said.writer)
        for pipe in (answer, said):
            pipe.close_writer()
        try:
            pidfd = os.pidfd_open(child)
        except OSError:  # it is ended, and reaped with the orphans
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            raise
        self.parent.helper_started(child)
        try:
            ended = await self._await_end(child, pidfd, errand.timeout_ms)
            ok = ended == "exited with code 0"
            told = f"{ended}{said.tail(self.masks)}"
            return Ended(ok, told, answer.whole() if errand.answers else b"")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # nothing it began outlives it
            self.aio.remove_reader(pidfd)
            pidfds.send(pidfd, signal.SIGKILL)
            if pidfds.peek(pidfd) is not None:
                pidfds.reap(pidfd)
            os.close(pidfd)
            # One that is still dying is reaped with the orphans.
            self.parent.helper_ended(child)

    async def _await_end(self, child: int, pidfd: int, timeout_ms: int) -> str:
        over = asyncio.Event()
        self.aio.add_reader(pidfd, over.set)
        try:
            await asyncio.wait_for(over.wait(), timeout_ms / 1000)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            return f"took longer than {timeout_ms / 1000:g} s"
        ending = pidfds.peek(pidfd)
        if ending is None or (ending.code is None and ending.signal is None):
            return "ended, nobody knows how"
        if ending.signal is not None:
            return f"killed by signal {ending.signal} ({signal.strsignal(ending.signal)})"
        return f"exited with code {ending.code}"


class _Said:
    """The last a command printed; what is more is read and dropped, so that it never blocks."""

    def __init__(self, aio: asyncio.AbstractEventLoop) -> None:
        self._aio = aio
        self._fd, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.writer, True)
        self._kept = b""
        self._open = True
        aio.add_reader(self._fd, self._read)

    def tail(self, masks: Masks) -> str:
        """Return what it said last, on one line; cut last, or half of a secret could stay."""
        said = masks.text(self.whole().decode(errors="replace"))
        text = " ".join(said.split())[-EVIDENCE_LENGTH_MAX:]
        return f": {text}" if text else ""

    def whole(self) -> bytes:
        """Return what is kept of what it said, with what waits in the pipe."""
        for _ in range(PIPE_READS_MAX):
            if not self._open or not self._read():
                break
        return self._kept

    def close_writer(self) -> None:
        """Leave the writing end to the command alone."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        self.close_writer()
        self._aio.remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> bool:
        """Take what there is; False: nothing more for now."""
        try:
            part = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return False
        self._keep(part)
        if not part:
            self._aio.remove_reader(self._fd)
            self._open = False
        return len(part) > 0

    def _keep(self, part: bytes) -> None:
        self._kept = (self._kept + part)[-OUTPUT_BYTES_MAX:]


class _Answer(_Said):
    """The first a command printed; one byte more than is allowed shows that it was too much."""

    def _keep(self, part: bytes) -> None:
        self._kept += part[: ANSWER_BYTES_MAX + 1 - len(self._kept)]


@dataclass(frozen=True, slots=True)
class Errand:
    """One command, as whom it runs, how long it may take, what it reads."""

    agent: str
    command: str | Sequence[str]
    config: AgentConfig
    timeout_ms: int
    payload: bytes = b""
    answers: bool = False
    """Whether what it prints on stdout is an answer, and not mixed with stderr."""

    def fork(self, stdout: int, stderr: int) -> int:
        """Start the command and return its pid; it is reaped through its pidfd.

        Raises OSError, SpawnError and ValueError.
        """
        who = persons.person(self.config.user, self.config.group)
        ours: Mapping[str, str] = {"AGENTD_AGENT": self.agent}
        # A memory file takes any payload at once, where a pipe could block the loop.
        stdin = os.memfd_create("payload", os.MFD_CLOEXEC)
        try:
            os.write(stdin, self.payload)
            os.lseek(stdin, 0, os.SEEK_SET)
            child = subprocess.Popen(
                launch.words(self.command),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=self.config.directory or "/",
                env=launch.environment(who, self.config.environment, ours),
                umask=int(self.config.umask, 8),
                start_new_session=True,
                user=who.ids.uid if who.switch else None,
                group=who.ids.gid if who.switch else None,
                extra_groups=who.ids.groups if who.switch else None,
            )
        finally:
            os.close(stdin)
        child.returncode = 0  # it is reaped through its pidfd, never by the Popen object
        return child.pid
