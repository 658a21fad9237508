"""Trees of processes that are hard to stop, one kind for each name in `KINDS`.

`python zoo.py KIND [DIRECTORY]` prints `ready` once the whole tree stands, and its first process
then lives until it is stopped; `port-holder` prints `ready PORT`. Give each run a working directory
of its own: it is the one thing that every process of every kind keeps, so that whoever looks for
survivors finds them by it (`/proc/PID/cwd`). `respawner` is too quick for such a look: its
processes hold a lock on the file `held` in that directory, and end when it is removed. Standard
library only.
"""

import ctypes
import fcntl
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

BURST = 200
# Nobody is left for good where a test was killed before its end.
LIFE_S = 600
SLEEP = ["/bin/sleep", str(LIFE_S)]
RESPAWN_S = 0.002
FILES_MAX = 64
HELD = "held"
_PR_SET_NAME = 15
_PTRACE_TRACEME = 0
# Pipes on which those above this process wait to hear that it stands.
_AWAITED: list[int] = []


def rest() -> None:
    end = time.monotonic() + LIFE_S
    while time.monotonic() < end:
        time.sleep(1)
    os._exit(0)


def ready(word: str = "") -> None:
    sys.stdout.write(f"ready {word}".rstrip() + "\n")
    sys.stdout.flush()


def deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def become(words: list[str], environment: dict[str, str] | None = None) -> None:
    given = dict(os.environ) if environment is None else environment
    os.execve(words[0], words, given)  # noqa: S606 - to be executed anew is the point


def child(life: Callable[[], object]) -> int:
    """Fork one that lives so; return once it says that it stands, has exec'ed, or is gone."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        for fd in (reader, *_AWAITED):
            os.close(fd)
        _AWAITED[:] = [writer]
        life()
        os.close(_AWAITED.pop())
        rest()
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return pid


def orphan(life: Callable[[], object]) -> None:
    """Fork one whose parent is gone at once, in a session of its own."""

    def between() -> None:
        os.setsid()
        child(life)
        os._exit(0)

    os.waitpid(child(between), 0)


def without_files() -> None:
    os.closerange(0, FILES_MAX)


def hold() -> None:
    """Lock a file for as long as any process of this tree lives that kept its files."""
    fd = os.open(HELD, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(fd, fcntl.LOCK_SH)
    os.set_inheritable(fd, True)


def is_held(directory: Path) -> bool:
    """Whether any such process lives."""
    with (directory / HELD).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def session() -> None:
    child(os.setsid)


def double_fork() -> None:
    orphan(lambda: None)


def deaf_grandchild() -> None:
    def parent() -> None:
        os.setsid()
        child(deaf)

    child(parent)


def fork_burst() -> None:
    """Told to stop, it forks, and each of those has a session of its own and is deaf."""

    def burst(*_: object) -> None:
        deaf()
        for _number in range(BURST):
            if os.fork() == 0:
                os.setsid()
                become(SLEEP)
        os._exit(0)

    signal.signal(signal.SIGTERM, burst)


def leader_first() -> None:
    """Its first process ends at the first word; the others, with it and apart, never heard it."""
    child(deaf)
    child(lambda: (deaf(), os.setsid()))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def port_holder() -> str:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def hold() -> None:
        deaf()
        listener.set_inheritable(True)
        become(SLEEP)

    orphan(hold)
    port = listener.getsockname()[1]
    listener.close()
    return str(port)


def bare() -> None:
    """An orphan without environment, session and files of those that it came from."""

    def strip() -> None:
        without_files()
        become(SLEEP, {})

    orphan(strip)


def reborn() -> None:
    """Closes everything and executes itself anew, environment and all."""

    def again() -> None:
        without_files()
        become([sys.executable, "-S", __file__, "again"])

    orphan(again)


def renamed() -> None:
    """An orphan that looks like a thread of the kernel, in argv and in comm."""

    def disguise() -> None:
        without_files()
        name = "[kworker/0:1]"
        words = [name, "-S", __file__, "named", name]
        os.execve(sys.executable, words, os.environ)  # noqa: S606 - under a false name

    orphan(disguise)


def stopped() -> None:
    """A child, and an orphan, that stand still and hear nothing but SIGKILL."""

    def stand() -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    for apart in (False, True):
        pid = os.fork()
        if pid == 0:
            if apart:
                os.setsid()
            stand()
            rest()
        await_state(pid, "T")


def traced() -> None:
    """A child that stands still under its parent's ptrace, in a session of its own."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        ctypes.CDLL(None).ptrace(_PTRACE_TRACEME, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        rest()
    await_state(pid, "t")


def vfork_sleeper() -> None:
    """One that waits, without an end, for the exec of the child it has vforked."""
    folder = tempfile.mkdtemp(prefix="zoo-")
    pipe = str(Path(folder, "pipe"))
    os.mkfifo(pipe)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        # The child opens a pipe to which nobody writes, and its parent stands for so long.
        actions = [(os.POSIX_SPAWN_OPEN, 0, pipe, os.O_RDONLY, 0)]
        os.posix_spawn(SLEEP[0], SLEEP, os.environ, file_actions=actions)
        os._exit(1)
    await_state(pid, "D")
    Path(pipe).unlink()
    Path(folder).rmdir()


def respawner() -> None:
    """An orphan that is another process every few milliseconds, each in its own session."""

    def respawn() -> None:
        deaf()
        os.close(_AWAITED.pop())
        end = time.monotonic() + LIFE_S
        while time.monotonic() < end and Path(HELD).exists():
            time.sleep(RESPAWN_S)
            if os.fork():
                os._exit(0)
            os.setsid()
        os._exit(0)

    orphan(respawn)


def await_state(pid: int, letter: str) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        if stat.rpartition(")")[2].split()[0] == letter:
            return
        time.sleep(0.005)
    sys.exit(f"process {pid} never came into the state {letter}")


KINDS: dict[str, Callable[[], str | None]] = {
    "setsid": session,
    "double-fork": double_fork,
    "deaf-grandchild": deaf_grandchild,
    "fork-burst": fork_burst,
    "leader-first": leader_first,
    "port-holder": port_holder,
    "bare": bare,
    "reborn": reborn,
    "renamed": renamed,
    "stopped": stopped,
    "traced": traced,
    "vfork-sleeper": vfork_sleeper,
    "respawner": respawner,
}


def main() -> None:
    kind = sys.argv[1]
    if kind == "named":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, sys.argv[2].encode(), 0, 0, 0)
    elif kind != "again":
        if len(sys.argv) > 2:
            os.chdir(sys.argv[2])
        hold()
        ready(KINDS[kind]() or "")
    rest()


if __name__ == "__main__":
    main()
