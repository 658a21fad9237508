"""strace on a living daemon: which calls it makes, and one of them made deadly or made to fail."""

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.daemon.harness import WAIT_S

STRACE = shutil.which("strace")
DETACH_S = 3.0
# A thread may end between the look and the attachment.
ATTACH_TRIES = 5

# What changes the disk, a process or what somebody is told; `make test-crash` enumerates each.
CALLS: Final = (
    "pwrite64",
    "fdatasync",
    "fsync",
    "write",
    "sendto",
    "sendmsg",
    "vfork",
    "clone",
    "clone3",
    "execve",
    "pidfd_open",
    "pidfd_send_signal",
    "kill",
    "openat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "symlink",
    "chmod",
    "fchmodat",
    "fchownat",
    "ftruncate",
    "fallocate",
    "socket",
    "bind",
    "accept4",
    "pipe2",
)
# Of these every one is looked at whatever is injected: to whom a signal went, by which call.
_SIGNALS: Final = ("kill", "tkill", "tgkill", "pidfd_send_signal")
_FORKS: Final = ("vfork", "clone")
_FORKED: Final = re.compile(r"(?:vfork|clone3?)(?:\(| resumed>).* = (\d+)$", re.MULTILINE)
_CALL: Final = re.compile(r"^(\d+) +(\w+)\((.*)$")

LOOP = "loop"
OTHERS = "others"
ALL = "all"


@dataclass(frozen=True, slots=True)
class Point:
    """The nth time that a part of the daemon makes a call."""

    part: str
    """`loop`: the thread of the event loop, `others`: each of the others for itself (the store,
    the recorder, readers), `all`: every thread, and what it becomes or begins."""
    call: str
    number: int


class Trace:
    """strace attached to a part of a process, with something injected or only looking."""

    def __init__(self, pid: int, part: str, log: Path, inject: str = "", call: str = "") -> None:
        assert STRACE is not None
        seen = {*([call] if call else CALLS), *_SIGNALS, *_FORKS}
        words = [STRACE, "--decode-fds=path,pidfd", "-o", str(log)]
        words += ["-e", f"trace={','.join(sorted(seen))}"]
        words += ["-e", f"inject={call}:{inject}"] if inject else []
        # What it becomes by an exec imports for seconds, and is a matter of its own.
        words += ["-b", "execve"] if part != ALL else []
        # The prefix with the thread's number is there with several of them only.
        words += ["-f"] if part == ALL else []
        self.log = log
        self._words, self._pid, self._part = words, pid, part
        self._only: int | None = None

    def __enter__(self) -> Self:
        for _ in range(ATTACH_TRIES):
            if self._attach():
                return self
        raise AssertionError(f"no process may be traced here: {self._said}")

    def _attach(self) -> bool:
        """Whether all of them were still there."""
        tids = [self._pid] if self._part == ALL else _threads(self._pid, self._part)
        self._only = tids[0] if len(tids) == 1 and self._part != ALL else None
        self.log.write_text("")
        chosen = [word for tid in tids for word in ("-p", str(tid))]
        self._process = subprocess.Popen([*self._words, *chosen], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for _ in tids:
            self._said = self._process.stderr.readline()
            if "attached" not in self._said:
                self.__exit__()
                return False
        return True

    def __exit__(self, *_: object) -> None:
        """Detach. strace may wait for ever for a thread that ends meanwhile; killed, it lets go."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=DETACH_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate(timeout=WAIT_S)

    def calls(self) -> list[tuple[int, str, str]]:
        """Thread, name and arguments of each call that was begun."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            told = f"{self._only} {line}" if self._only is not None else line
            if match := _CALL.match(told):
                found.append((int(match[1]), match[2], match[3]))
        return found

    def most(self) -> Counter[str]:
        """By call, how often the thread made it that made it most."""
        by_thread = Counter((tid, call) for tid, call, _ in self.calls())
        found: Counter[str] = Counter()
        for (_, call), count in by_thread.items():
            found[call] = max(found[call], count)
        return found

    def children(self) -> set[str]:
        """Pids of the processes that were begun."""
        return set(_FORKED.findall(self.log.read_text(errors="replace")))

    def injected(self) -> bool:
        """Whether the error was given."""
        return "(INJECTED" in self.log.read_text(errors="replace")


def _threads(pid: int, part: str) -> list[int]:
    tids = sorted(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())
    return [pid] if part == LOOP else [tid for tid in tids if tid != pid]
