"""The Python stack of a process: which line of whose code it is in.

Two ways. py-spy (the extra `stacks`) reads the stack out of the process's memory while it goes
on running; it needs the right to (root, CAP_SYS_PTRACE, or ptrace_scope 0). Where it may not,
an agent that called `agentd.allow_stack_dump()` writes its own stack into its log when it gets
the signal that it named. Neither stops it.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

THREADS_MAX: Final = 32
FRAMES_MAX: Final = 40
WORD_CHARS_MAX: Final = 200
_DUMP_BYTES_MAX: Final = 4 << 20
# What it reads may change under its hands; then it says so, and the next look succeeds.
_TRIES: Final = 3
_LIBRARY: Final = re.compile(r"(^<frozen )|(/(site|dist)-packages/)|(/lib(64)?/python\d[\d.]*/)")
_FAULT_THREAD: Final = re.compile(r"^(Current thread|Thread) 0x[0-9a-f]+(?: \[(.*)\])? \(most")
_FAULT_FRAME: Final = re.compile(r'^  File "(.*)", line (\d+|\?\?\?) in (.*)$')


@dataclass(frozen=True, slots=True)
class Frame:
    """One call on a stack."""

    function: str
    file: str
    line: int

    @property
    def is_library(self) -> bool:
        """Whether it is the interpreter's or an installed package's, and not the agent's own."""
        return bool(_LIBRARY.search(self.file))

    @property
    def place(self) -> str:
        return f"{Path(self.file).name}:{self.line}"

    @property
    def name(self) -> str:
        """The function without its class: `do_handshake`."""
        return self.function.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread's stack, the innermost call first."""

    frames: tuple[Frame, ...]
    tid: int = 0
    """As the kernel counts threads; 0: not known."""
    name: str = ""
    active: bool = False
    """It runs, as far as the reader could tell."""

    @property
    def user_frame(self) -> Frame | None:
        """The innermost call of the agent's own code."""
        return next((frame for frame in self.frames if not frame.is_library), None)

    def document(self) -> dict[str, object]:
        """Return it as the evidence shows it."""
        frames = [f"{frame.function} ({frame.file}:{frame.line})" for frame in self.frames]
        return {"thread": self.tid or None, "name": self.name, "active": self.active} | {
            "frames": frames
        }


@dataclass(frozen=True, slots=True)
class Stacks:
    """What could be read of a process's stacks, and where not, why not."""

    threads: tuple[Thread, ...] = ()
    source: str = ""
    why_not: str = ""


def find_reader() -> str:
    """Return the path of py-spy, beside this interpreter or on PATH; empty: it isn't here."""
    for folder in (Path(sys.executable).parent, *map(Path, os.get_exec_path())):
        reader = folder / "py-spy"
        if reader.is_file() and os.access(reader, os.X_OK):
            return str(reader)
    return ""


def read_stacks(reader: str, pid: int, limit_s: float) -> Stacks:
    """Read the stacks of a process that goes on running; says why where it can't be done.

    `limit_s`: then the reader is killed, which costs the process nothing.
    """
    if not reader:
        return Stacks(why_not="py-spy is not installed (extra: stacks)")
    command = [reader, "dump", "--nonblocking", "--json", "--pid", str(pid)]
    why_not = ""
    for _ in range(_TRIES):
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit_s / _TRIES,
                check=False,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "NO_COLOR": "1"},
            )
        except subprocess.TimeoutExpired:
            why_not = "py-spy took too long"
            continue
        except OSError as error:
            return Stacks(why_not=f"py-spy: {error.strerror}")
        if done.returncode == 0:
            threads = parse_dump(done.stdout[:_DUMP_BYTES_MAX])
            return Stacks(threads, "py-spy") if threads else Stacks(why_not="py-spy saw no thread")
        why_not = _why(done.stderr)
        if "ermission" in why_not or "not permitted" in why_not:
            return Stacks(why_not="py-spy: not permitted")
    return Stacks(why_not=why_not)


def _why(stderr: bytes) -> str:
    """Return the last line that it complained with: the cause of the causes."""
    lines = [line.strip() for line in stderr[:4096].decode(errors="replace").splitlines()]
    told = [_word(line) for line in lines if line]
    return f"py-spy: {told[-1]}" if told else "py-spy failed"


def parse_dump(raw: bytes) -> tuple[Thread, ...]:
    """Read what `py-spy dump --json` prints; empty where it is nothing of the kind."""
    try:
        threads = json.loads(raw)
        return tuple(_thread(each) for each in threads[:THREADS_MAX])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return ()


def _thread(said: dict[str, object]) -> Thread:
    frames = said["frames"]
    if not isinstance(frames, list):
        raise TypeError(f"frames: {frames!r}")
    return Thread(
        frames=tuple(
            Frame(_word(each["name"]), _word(each["filename"]), int(each["line"]))
            for each in frames[:FRAMES_MAX]
        ),
        tid=int(str(said.get("os_thread_id") or 0)),
        name=_word(said.get("thread_name") or ""),
        active=bool(said.get("active")),
    )


def parse_faulthandler(lines: Sequence[str]) -> tuple[Thread, ...]:
    """Read the stacks that faulthandler wrote among other lines; the last threads it tells of.

    It names the thread that got the signal "current": the main thread, if nothing blocks it.
    """
    threads: list[Thread] = []
    frames: list[Frame] | None = None
    current = False
    name = ""

    def close() -> None:
        if frames:
            threads.append(Thread(tuple(frames[:FRAMES_MAX]), name=name, active=False))
            if current:
                threads.insert(0, threads.pop())

    for line in lines:
        begun, frame = _FAULT_THREAD.match(line), _FAULT_FRAME.match(line)
        if begun:
            close()
            current, name, frames = begun[1] == "Current thread", _word(begun[2] or ""), []
        elif frame and frames is not None:
            number = int(frame[2]) if frame[2].isdecimal() else 0
            frames.append(Frame(_word(frame[3]), _word(frame[1]), number))
    close()
    return tuple(threads[:THREADS_MAX])


def _word(text: object) -> str:
    """Whatever a process calls its functions, it is one short line here."""
    word = str(text)[:WORD_CHARS_MAX]
    return word if word.isprintable() else word.encode("unicode_escape").decode()
