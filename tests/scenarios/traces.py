"""The lines of which the scenarios' traces are built; times in seconds."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

Line = dict[str, Any]

_NUMBERS: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z?|\b[0-9a-f]{8,}\b|\d+"
)


def end(t: float) -> Line:
    """Look no further."""
    return {"t": t, "end": True}


def start_at(moment: str) -> Line:
    """Begin at this moment of the calendar."""
    return {"t": 0, "start": True, "at": moment}


def beat(t: float, **fields: object) -> Line:
    """Send one heartbeat: it ends a cycle."""
    return {"t": t, "line": {"status": "ok", **fields}}


def cycles(first: float, count: int, every: float = 30, **fields: object) -> list[Line]:
    """Send `count` heartbeats, each ending a cycle of that usage."""
    return [beat(first + number * every, **fields) for number in range(count)]


def called(t: float, **fields: object) -> Line:
    """End a call of the running cycle; each has a name of its own, or it would be one call."""
    line = {"type": "call", "phase": "end", "call": f"call at {t:g}", "ok": True, **fields}
    return {"t": t, "line": line}


def tokens(count: int) -> dict[str, int]:
    """Usage of so many tokens, as a call line carries it."""
    return {"input_tokens": count}


def fingerprint(text: str) -> str:
    """Return 64 bits of a hash, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def normalised(text: str) -> str:
    """Numbers, hex runs, UUIDs and timestamps become `#`, white space one blank."""
    return " ".join(_NUMBERS.sub("#", text.lower()).split())


def step(t: float, tool: str, asked: str, answer: str, **fields: object) -> Line:
    """Report one step, as fingerprints of what was asked and answered."""
    texts = [normalised(line) for text in (asked, answer) for line in text.splitlines()]
    return {
        "t": t,
        "line": {
            "type": "step",
            "tool": tool,
            "args_fp": fingerprint(asked),
            "args_nfp": fingerprint(normalised(asked)),
            "args_len": len(asked),
            "out_fp": fingerprint(answer),
            "out_nfp": fingerprint(normalised(answer)),
            "out_len": len(answer),
            "lines": [fingerprint(text) for text in dict.fromkeys(texts) if text][:64],
            **fields,
        },
    }


def steps(
    first: float,
    count: int,
    tool: str,
    asked: str,
    answer: str,
    *,
    number: int = 0,
    **fields: object,
) -> list[Line]:
    """A step `count` times, 10 s apart; `{n}` in the texts is a word of its own for each."""
    words = [word(number + n) for n in range(count)]
    return [
        step(first + n * 10, tool, asked.format(n=each), answer.format(n=each), **fields)
        for n, each in enumerate(words)
    ]


def word(number: int) -> str:
    """Return a word of its own for each number; no digits, which normalising takes away."""
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number, 20)
        letters += "ghijklmnopqrstuvwxyz"[letter]
    return letters


def failed(t: float, tool: str, asked: str, error: str, **fields: object) -> Line:
    """Report one step that failed."""
    return step(t, tool, asked, "", ok=False, error=error, **fields)


def intent(t: float, key: str = "refund:918", *, idempotent: bool = False) -> Line:
    """Announce an action that is about to be made outside."""
    line = {"type": "intent", "key": key, "action": "stripe.refund", "idempotent": idempotent}
    return {"t": t, "line": line}


def done(t: float, key: str = "refund:918") -> Line:
    """Say that the action was made."""
    return {"t": t, "line": {"type": "done", "key": key}}


def recall(t: float) -> Line:
    """Ask for what was kept and what was in flight; the answer's id is the time."""
    return {"t": t, "line": {"type": "checkpoint.get", "id": f"{t:g}"}}


def checkpoint(t: float, **state: object) -> Line:
    """Keep a state."""
    return {"t": t, "line": {"type": "checkpoint.put", "state": state}}


def breaker(t: float, *, ok: bool, attempt: int = 1, agent: str | None = None) -> Line:
    """Report how a call of the shared dependency `openai` went."""
    line = {"type": "breaker", "name": "openai", "ok": ok, "attempt": attempt}
    return about(agent, {"t": t, "line": line if ok else {**line, "error": "429"}})


def may_i(t: float, agent: str | None = None) -> Line:
    """Ask whether the shared dependency may be called; the answer's id is the time."""
    line = {"type": "breaker.ask", "id": f"{t:g}", "name": "openai"}
    return about(agent, {"t": t, "line": line})


def about(agent: str | None, line: Line) -> Line:
    """Name the agent where there are several."""
    return line if agent is None else {**line, "agent": agent}


def command(t: float, cmd: str, **args: object) -> Line:
    """Let an operator say a word."""
    return {"t": t, "cmd": {"cmd": cmd, "args": {"select": ["a"], **args}}}


def exits(t: float, code: int = 1) -> Line:
    """End the process by itself."""
    return {"t": t, "exit": {"code": code}}


def daemon_away(first: float, last: float) -> list[Line]:
    """Kill agentd, and start it again."""
    return [{"t": first, "daemon": "crash"}, {"t": last, "daemon": "start"}]


def world(t: float, **settings: object) -> Line:
    """Change the simulated world."""
    return {"t": t, "world": settings}


def chain(*parts: Line | Iterable[Line]) -> list[Line]:
    """Put lines and lists of lines into one trace."""
    trace: list[Line] = []
    for part in parts:
        trace += [part] if isinstance(part, dict) else list(part)
    return trace
