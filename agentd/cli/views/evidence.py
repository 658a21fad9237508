"""What was seen of an agent before anything was done to it, and what its end left behind.

The known parts have an order and a form of their own; what a later version adds is shown too.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from agentd.cli.views.words import clock, size, wrapped
from agentd.reporting.words import duration, visible

Document = dict[str, Any]

SUBJECT: Final = 13
LOOKS_SHOWN: Final = 4
"""Fifty agents that died of one thing look alike."""
_FRAME: Final = re.compile(r"(.*? )\([^()]*/([^/()]+/[^/()]+)\)")
KIND_WORDS: Final = {"stall": "while it was stuck", "death": "after its end"}

# Where it is stuck comes first, its last words come last; unknown parts stand between.
_FIRST: Final = (
    *("exit", "stack", "stack_error", "state", "wchan", "syscall", "cpu_s", "io_bytes"),
    *("sockets", "open_call", "last_said", "last_steps"),
)
_LAST: Final = ("log_tail",)
_HEADLINE: Final = frozenset(("agent", "kind", "time", "agents"))
# The number of the thread stands in its stack.
_ELSEWHERE: Final = frozenset(("thread",))
_TITLES: Final = {
    "cpu_s": "CPU",
    "io_bytes": "I/O",
    "wchan": "waits in",
    "open_call": "open calls",
    "last_said": "said last",
    "last_steps": "last steps",
    "log_tail": "log",
    "memory_events": "memory",
    "stack_error": "no stack",
}


def evidence_text(evidence: Mapping[str, Any], width: int | None = None) -> str:
    """Write the first look of each kind at each agent, and how many there were."""
    looks = [evidence, *(evidence.get("agents") or ())]
    first: dict[tuple[str, str], Mapping[str, Any]] = {}
    more: dict[tuple[str, str], list[str]] = {}
    for look in looks:
        if isinstance(look, Mapping) and _parts(look):
            key = str(look.get("agent") or "-"), str(look.get("kind") or "")
            if first.setdefault(key, look) is not look:
                more.setdefault(key, []).append(clock(look.get("time")))
    shown = list(first.items())[:LOOKS_SHOWN]
    texts = [_look(look, more.get(key, []), width) for key, look in shown]
    if len(first) > len(shown):
        texts.append(f"and {len(first) - len(shown)} more looks at others: --json shows all")
    return "\n".join(texts)


def _look(look: Mapping[str, Any], later: Sequence[str], width: int | None) -> str:
    kind = str(look.get("kind") or "")
    told = KIND_WORDS.get(kind, kind)
    lines = [f"{visible(look.get('agent') or '-')} {visible(told)}, {clock(look.get('time'))}:"]
    parts = _parts(look)
    small = [(name, value) for name, value in parts if _is_small(name, value)]
    for name, value in parts:
        if (name, value) not in small and name not in _LAST:
            lines += _part(_title_of(name), name, value, width)
    if small:
        lines += _part("more", "", [", ".join(_told(small))], width)
    for name in _LAST:
        if look.get(name):
            lines += _part(_title_of(name), name, look[name], width)
    if later:
        lines.append(f"  seen {len(later) + 1} times, the last time {later[-1]}: --json shows all")
    return "\n".join(lines)


def _title_of(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))


def _parts(look: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return what a look has to tell, in its order."""
    known = {*_FIRST, *_LAST, *_HEADLINE, *_ELSEWHERE}
    order = [
        *(name for name in _FIRST if name in look),
        *(name for name in look if name not in known),
        *(name for name in _LAST if name in look),
    ]
    return [(name, look[name]) for name in order if look[name] not in (None, "", [], {})]


def _is_small(name: str, value: object) -> bool:
    """Whether it is one figure or word that deserves no line of its own."""
    return name not in _FIRST and name not in _LAST and isinstance(value, str | int | float)


def _part(title: str, name: str, value: object, width: int | None) -> list[str]:
    told = list(_lines(name, value))
    if width is not None and name not in _LAST:
        told = [line for text in told for line in _folded(text, max(width - SUBJECT, 1))]
    if len(title) > SUBJECT - 2:
        return [f"  {visible(title)}", *(" " * SUBJECT + line for line in told)]
    return [
        f"{'  ' + visible(title) if not index else '':<{SUBJECT}}{line}".rstrip()
        for index, line in enumerate(told)
    ]


def _folded(text: str, width: int) -> list[str]:
    """Break a line, and keep how far it is moved in; of a long path its end has to do."""
    indent = len(text) - len(text.lstrip())
    frame = _FRAME.fullmatch(text) if len(text) > width else None
    if frame is not None:
        text = f"{frame[1]}(…/{frame[2]})"
    return [" " * indent + line for line in wrapped(text.lstrip(), width - indent)]


def _lines(name: str, value: object) -> Iterator[str]:
    """Write a value as lines, foreign text made harmless."""
    if isinstance(value, Mapping):
        if "frames" in value:
            yield from _thread(value)
        elif name == "sockets" and "fd" in value:
            yield _socket(value)
        elif name == "pressure":
            yield _pressure(value)
        elif name == "exit":
            yield from _pairs({key: each for key, each in value.items() if key != "evidence"})
        else:
            yield from _pairs(value)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from _lines(name, each)
    elif name == "log_tail":
        yield visible(value, tabs=True)
    else:
        yield _figure(name, value)


def _thread(thread: Mapping[str, Any]) -> Iterator[str]:
    """Write one thread of a stack, the innermost call first as it came."""
    name, number = str(thread.get("name") or ""), thread.get("thread")
    told = [name or "thread", str(number or ""), "(running)" if thread.get("active") else ""]
    yield visible(" ".join(part for part in told if part))
    for frame in thread["frames"]:
        yield f"  {_frame(frame)}"


def _socket(each: Mapping[str, Any]) -> str:
    """Write `fd 5: tcp 10.0.0.2:51 to 10.0.0.7:443, established, 0B unread, 12B unsent`."""
    ends = [str(each[name]) for name in ("local", "peer") if each.get(name)]
    listens = each.get("state") == "listening"  # its queues are of connections, not of bytes
    unread, unsent = (
        None if listens else each.get(name) for name in ("recv_queue_bytes", "send_queue_bytes")
    )
    parts = [
        f"fd {each['fd']}: {each.get('kind') or 'socket'} {' to '.join(ends)}".rstrip(),
        str(each.get("state") or ""),
        "" if unread is None else f"{size(unread)} unread",
        "" if unsent is None else f"{size(unsent)} unsent",
    ]
    return visible(", ".join(part for part in parts if part))


def _pressure(value: Mapping[str, Any]) -> str:
    """Write the shares of the last ten seconds in which something had to wait; PSI in percent."""
    told = []
    for name, shares in value.items():
        if not isinstance(shares, Mapping):
            told.append(f"{name} {shares}")
            continue
        for degree, averages in shares.items():
            if not isinstance(averages, Mapping):  # a counter beside them, as of throttling
                told += [f"{name} {degree} {averages}"] if averages else []
            elif averages.get("avg10"):
                told.append(f"{name.replace('_', ' ')} {degree} {averages['avg10']} %")
    return visible(", ".join(told) or "none in the last 10s")


def _frame(frame: object) -> str:
    if not isinstance(frame, Mapping):
        return visible(frame)
    where = f"{frame.get('file', '?')}:{frame.get('line', '?')}"
    return visible(f"{frame.get('function') or frame.get('name') or '?'} ({where})")


def _pairs(value: Mapping[str, Any]) -> Iterator[str]:
    if "function" in value and "file" in value:
        yield _frame(value)
        return
    told = ", ".join(_told(value.items()))
    if told:
        yield told


def _told(pairs: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Write `name value` of what is known; a nested value in its own few words."""
    for name, value in pairs:
        if value is None or value in ("", [], {}):
            continue
        if isinstance(value, Mapping):
            yield f"{_title(name)} ({', '.join(_told(value.items()))})"
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield f"{_title(name)} {' '.join(' '.join(_lines(name, one)) for one in value)}"
        else:
            yield f"{_title(name)} {_figure(name, value)}"


def _title(name: object) -> str:
    """Write a field's name without the unit that its figure shows."""
    text = str(name)
    for unit in ("_bytes", "_ms", "_s"):
        text = text.removesuffix(unit)
    return visible(text.replace("_", " "))


def _figure(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if name.endswith("_bytes"):
            return size(value)
        if name.endswith("_ms"):
            return duration(value / 1000)
        if name.endswith("_s"):
            return duration(value)
    return visible(value)
