"""`agentd start`: from the command line to a running daemon, and out again.

Exit codes: 0 after a graceful stop, 1 where the daemon could not start or lost what it stands
on; the reason is on stderr. However it ends, agents that live are adopted by the next start.
"""

import asyncio
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from agentd import __version__
from agentd.config.internal import with_internal
from agentd.config.load import load
from agentd.config.loaded import Loaded
from agentd.config.names import INTERNAL
from agentd.config.places import Places, User, config_place, places
from agentd.daemon import allocator, startcheck
from agentd.daemon import host as hosts
from agentd.daemon.assembly import Assembly, Givens
from agentd.daemon.gathering import GatheringSelector
from agentd.daemon.handover import Handover
from agentd.daemon.life import Life
from agentd.daemon.listener import ListenError
from agentd.daemon.lock import AlreadyRunning, StateLock
from agentd.daemon.log import log
from agentd.daemon.logs import LogRefused
from agentd.daemon.sdnotify import Systemd, pick_up_fds
from agentd.store.directory import check_directory
from agentd.store.store import DirectoryRefused, NewerSchema, StoreUnavailable

DONE: Final = 0
FAILED: Final = 1

SWITCH_S: Final = 0.0005
TRACEBACK_FRAMES: Final = 4
# A collection begins after so many new containers that live: one status of 200 agents makes 2,000.
YOUNG_MAX: Final = 10_000

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)

# What may be in the way of a start, each with a message that says what and where.
_REFUSALS: Final = (
    AlreadyRunning,
    DirectoryRefused,
    ListenError,
    LogRefused,
    NewerSchema,
    StoreUnavailable,
    startcheck.CannotStart,
    OSError,
)


class EarlySignals:
    """Signals that come before there is a loop to take them; none is lost, none kills us."""

    def __init__(self) -> None:
        self.noted: list[signal.Signals] = []
        for number in _SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self.noted.append(signal.Signals(number))


def run(config: Path | None, socket: Path | None) -> int:
    """Run the daemon in the foreground until it is told to end; return the exit code."""
    try:
        return (_check_start if startcheck.is_asked() else _run)(config, socket)
    except _REFUSALS as error:
        _complain(log.mask(f"agentd: {error}"))
        return FAILED


def _run(config: Path | None, socket: Path | None) -> int:
    early = EarlySignals()
    _log_uncaught()
    allocator.keep_little()
    handover = Handover.take()
    private = hosts.take_private_environment()
    manager, kept = Systemd(private), dict(pick_up_fds(private))
    if handover is not None:
        manager.fall_silent()  # once more: the image before us may not have known how to
    host = hosts.settle()
    hosts.renounce_privileges()
    # While a thread of ours computes, each system call of the loop waits this long for its turn.
    sys.setswitchinterval(SWITCH_S)
    if handover is not None:
        host = replace(host, agent_limits=handover.agent_limits)
    os.umask(0o027)  # logs are for their group, too; what is nobody else's says so itself
    read, loaded, where = _read_config(config, socket)
    if not _is_fit(loaded):
        return FAILED
    configured = loaded.config.agents.keys() - INTERNAL
    log.info("daemon.starting", version=__version__, agents=len(configured))
    log.level = loaded.config.daemon.log_level
    check_directory(where.state_dir)
    lock = StateLock.take(where.state_dir, handover.state_lock_fd if handover else None)
    givens = Givens(host, where, loaded, read, lock, handover, manager, kept)
    selector = GatheringSelector()
    with asyncio.Runner(loop_factory=partial(asyncio.SelectorEventLoop, selector)) as runner:
        life = runner.run(_live(givens, early, selector.agents))
    if life.wants_reexec:
        # What was handed to us as LISTEN_FDS is closed by then, and the numbers mean other files.
        life.hand_over({key: val for key, val in private.items() if not key.startswith("LISTEN")})
    return DONE


async def _live(givens: Givens, early: EarlySignals, talking: set[int]) -> Life:
    """Live until told otherwise; `talking` is kept up to date with agents' connections."""
    aio = asyncio.get_running_loop()
    aio.set_exception_handler(_log_exception)
    life = Life(Assembly(aio, givens, talking))
    try:
        await life.start()
        _keep_what_stays()
        for number in _SIGNALS:
            aio.add_signal_handler(number, life.on_signal, number)
        for number in early.noted:
            life.on_signal(number)
        await life.ended()
    finally:
        # What comes from now on waits for the image that follows, or comes too late.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for number in _SIGNALS:
            aio.remove_signal_handler(number)
        if life.is_up:
            givens.manager.fall_silent()
        life.close()
    if not life.wants_reexec:
        life.leave()
        log.info("daemon.ended")
    return life


def _keep_what_stays() -> None:
    """Have the collector leave out what lives as long as the daemon.

    A look through all of it takes some 40 ms, in which nobody is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX)


def _check_start(config: Path | None, socket: Path | None) -> int:
    """Say on stderr what would keep this version from starting here; change nothing."""
    _, loaded, where = _read_config(config, socket)
    if not _is_fit(loaded):
        return FAILED
    startcheck.check_store(where.state_dir)
    return DONE


def _read_config(
    config: Path | None, socket: Path | None
) -> tuple[Callable[[], Loaded], Loaded, Places]:
    """Return what reads all files again, what they say now, and where everything lives."""
    user = User(os.environ, os.geteuid(), Path.home())
    file, required = config_place(user, str(config) if config is not None else None)

    def read() -> Loaded:
        found = load(file.absolute(), required=required, system=user.is_root)
        return with_internal(found, file.absolute())

    loaded = read()
    asked = str(socket) if socket else None
    return read, loaded, places(user, file.absolute(), loaded.config.daemon, asked)


def _is_fit(loaded: Loaded) -> bool:
    """Tell every finding; False where the main file itself is wrong."""
    for finding in loaded.findings():
        _complain(finding.text())
    if loaded.is_usable:
        return True
    _complain("agentd: not started: the configuration above has to be put right first")
    return False


def _complain(text: str) -> None:
    """Write to a person who waits for the start, as it stands."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _log_exception(_aio: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Log what a callback of ours raised; it costs that callback, and nobody else."""
    # Of a callback's arguments asyncio quotes the two ends: what is left of a secret isn't known
    # as one any more.
    message = str(context.get("message")).partition("(")[0]
    _tell_fault(message, context.get("exception"))


def _log_uncaught() -> None:
    """Have the log write what nobody caught: it hides secrets, and the interpreter doesn't."""
    sys.excepthook = lambda _kind, error, _trace: _tell_fault("not caught: the daemon ends", error)
    sys.unraisablehook = lambda found: _tell_fault("not caught", found.exc_value)
    threading.excepthook = lambda found: _tell_fault(
        f"not caught in thread {found.thread.name if found.thread else '?'}", found.exc_value
    )


def _tell_fault(message: str, error: object) -> None:
    told: list[str] = []
    if isinstance(error, BaseException):
        told = traceback.format_exception(error, limit=-TRACEBACK_FRAMES)
    log.error("daemon.fault", message=message, error="".join(told))
