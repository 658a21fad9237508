"""Which lines match: a plain word here, a regular expression in a process of its own.

Python's matcher holds the interpreter while it works, and some patterns take longer than the
universe lasts: in the daemon one such pattern would stop all supervision. A process can be
given up.
"""

import contextlib
import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final, Protocol, Self

MATCHED_CHARS_MAX: Final = 4_096
_SPECIAL: Final = frozenset(r".^$*+?{}[]\|()")
_PROGRAM: Final = """
import json, re, sys
try:
    wanted = re.compile(sys.argv[1])
except (re.error, RecursionError, OverflowError) as error:
    print(json.dumps({"error": str(error)}), flush=True)
    sys.exit(0)
print(json.dumps({"error": ""}), flush=True)
for line in sys.stdin:
    found = [bool(wanted.search(text)) for text in json.loads(line)]
    print(json.dumps(found), flush=True)
"""


class GrepRefused(Exception):  # noqa: N818 - named after what the user is told
    """The pattern is none, or takes too long; the message says which."""


class Matcher(Protocol):
    """Says of each text whether it is wanted."""

    def matches(self, texts: Sequence[str]) -> list[bool]:
        """One answer a text; raises `GrepRefused`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Everything(contextlib.AbstractContextManager["Everything"]):
    """Without a pattern, every line matches."""

    def matches(self, texts: Sequence[str]) -> list[bool]:
        return [True] * len(texts)

    def __exit__(self, *_: object) -> None:
        """Hold nothing."""


class Words(contextlib.AbstractContextManager["Words"]):
    """A pattern without special characters is looked for as it is."""

    def __init__(self, words: str) -> None:
        self._words = words

    def matches(self, texts: Sequence[str]) -> list[bool]:
        return [self._words in text for text in texts]

    def __exit__(self, *_: object) -> None:
        """Hold nothing."""


class Pattern(contextlib.AbstractContextManager["Pattern"]):
    """A regular expression, with a bound in seconds on all of its work."""

    def __init__(self, pattern: str, limit_s: float) -> None:
        """Start the process; raises `GrepRefused` for a pattern that is none."""
        self._until_s = time.monotonic() + limit_s
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, pattern],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )
        try:
            _expect_compiled(self._answer())
        except BaseException:
            self._end()
            raise

    def matches(self, texts: Sequence[str]) -> list[bool]:
        if not texts:
            return []
        asked = json.dumps([text[:MATCHED_CHARS_MAX] for text in texts])
        assert self._process.stdin is not None
        try:
            # The process reads it whole before it matches, so that this write never waits long.
            self._process.stdin.write(asked.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise GrepRefused("the search ended early") from None
        answer = self._answer()
        if not isinstance(answer, list) or len(answer) != len(texts):
            raise GrepRefused("the search ended early")
        return [bool(one) for one in answer]

    def __exit__(self, *_: object) -> None:
        self._end()

    def _answer(self) -> object:
        """Return the next line of the process as JSON; raises `GrepRefused`."""
        assert self._process.stdout is not None
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        left_ms = int((self._until_s - time.monotonic()) * 1000)
        if left_ms <= 0 or not poll.poll(left_ms):
            raise GrepRefused("the search takes too long; use a simpler pattern or --since")
        line = self._process.stdout.readline()
        try:
            answer: object = json.loads(line)
        except ValueError:
            raise GrepRefused("the search ended early") from None
        return answer

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _expect_compiled(answer: object) -> None:
    error = answer.get("error") if isinstance(answer, dict) else "no answer"
    if error:
        raise GrepRefused(f"not a regular expression: {error}")


def matcher(pattern: str | None, *, limit_s: float = 10.0) -> Matcher:
    """Return what finds `pattern`; raises `GrepRefused` for one that is no pattern."""
    if not pattern:
        return Everything()
    if not _SPECIAL & set(pattern):
        return Words(pattern)
    return Pattern(pattern, limit_s)
