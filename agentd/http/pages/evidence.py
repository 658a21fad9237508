"""What was seen of an agent when it got stuck or died: stack, sockets, last words, figures."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from agentd.http.pages import times
from agentd.http.pages.context import Document
from agentd.http.pages.markup import Child, Markup, lines, tag
from agentd.reporting.words import duration, size

LOOKS_MAX: Final = 8
KIND_WORDS: Final = {"stall": "while it was stuck", "death": "after its end"}
_FRAME: Final = re.compile(r"(?P<function>.*?) \((?P<path>.*)\)")
_ELSEWHERE: Final = frozenset(("agent", "kind", "time", "agents", "thread"))
_OWN_FORM: Final = frozenset(("stack", "sockets", "log_tail", "last_steps"))
_UNITS: Final = ("_bytes", "_ms", "_s")
STEP_FIELDS: Final = ("step", "tool", "ok", "note")


def evidence(document: Document) -> Markup:
    """Return each look, the first of each kind open."""
    told = looks_of(document)
    if not told:
        return tag("p", "Nobody looked: it neither hung nor died.", class_="quiet")
    opened: set[object] = set()
    parts = []
    for number, look in enumerate(told[:LOOKS_MAX]):
        kind = (look.get("agent"), look.get("kind"))
        parts.append(_look(look, number, opened=kind not in opened))
        opened.add(kind)
    if len(told) > LOOKS_MAX:
        parts.append(tag("p", f"and {len(told) - LOOKS_MAX} more looks: agentctl incident --json"))
    return tag("div", parts, class_="looks")


def looks_of(document: Document) -> list[Document]:
    """Return the looks that have something to tell, in their order."""
    looks = [document, *(document.get("agents") or ())]
    return [look for look in looks if any(_parts(look))]


def steps_table(steps: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the last steps of an agent, the latest first."""
    shown = [name for name in STEP_FIELDS if any(step.get(name) is not None for step in steps)]
    extra = sorted({name for step in steps for name in step} - set(STEP_FIELDS))
    names = [*shown, *(name for name in extra if any(step.get(name) for step in steps))]
    return table(
        names, ([_figure(name, step.get(name)) for name in names] for step in reversed(steps))
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[Child]]) -> Markup:
    """Return a table that scrolls by itself where it is too wide."""
    return tag(
        "div",
        tag(
            "table",
            tag("thead", tag("tr", [tag("th", _title(head), scope="col") for head in heads])),
            tag("tbody", [tag("tr", [tag("td", cell) for cell in row]) for row in rows]),
        ),
        class_="wide",
    )


def _look(look: Document, number: int, *, opened: bool) -> Markup:
    kind = str(look.get("kind") or "")
    title = f"{look.get('agent') or '-'} {KIND_WORDS.get(kind, kind)}, "
    return tag(
        "details",
        tag("summary", title, times.shown(look.get("time"))),
        _stack(look.get("stack")),
        _sockets(look.get("sockets")),
        _steps(look.get("last_steps")),
        tag("dl", _facts(look), class_="facts"),
        _log(look.get("log_tail")),
        open=opened,
        data_name=f"look-{number}",
    )


def _parts(look: Document) -> Iterator[object]:
    for name, value in look.items():
        if name not in _ELSEWHERE and value not in (None, "", [], {}):
            yield value


def _stack(threads: object) -> Markup | None:
    if not isinstance(threads, Sequence) or isinstance(threads, str) or not threads:
        return None
    return tag("div", tag("h3", "Stack"), [_thread(thread) for thread in threads])


def _thread(thread: object) -> Markup:
    """Return one thread, the innermost call first."""
    frames = thread.get("frames") if isinstance(thread, Mapping) else None
    if not isinstance(frames, Sequence):
        return tag("pre", str(thread))
    return tag("ol", [tag("li", _frame(frame)) for frame in frames], class_="stack")


def _frame(frame: object) -> Child:
    if isinstance(frame, Mapping):
        where = f"{frame.get('file', '?')}:{frame.get('line', '?')}"
        return [str(frame.get("function") or "?"), " ", tag("span", where, class_="path")]
    found = _FRAME.fullmatch(str(frame))
    if found is None:
        return str(frame)
    return [found["function"], " ", tag("span", found["path"], class_="path")]


def _sockets(sockets: object) -> Markup | None:
    if not isinstance(sockets, Sequence) or isinstance(sockets, str) or not sockets:
        return None
    names = ("fd", "kind", "local", "peer", "state", "recv_queue_bytes", "send_queue_bytes")
    heads = ("fd", "kind", "local", "peer", "state", "unread", "unsent")
    rows = (
        [_figure(name, each.get(name)) for name in names]
        for each in sockets
        if isinstance(each, Mapping)
    )
    return tag("div", tag("h3", "Sockets"), table(heads, rows))


def _steps(steps: object) -> Markup | None:
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        return None
    found = [step for step in steps if isinstance(step, Mapping)]
    return tag("div", tag("h3", "Last steps"), steps_table(found))


def _log(text: object) -> Markup | None:
    if not isinstance(text, Sequence) or not text:
        return None
    found = text.splitlines() if isinstance(text, str) else [str(line) for line in text]
    return tag("div", tag("h3", "Last lines of its log"), tag("pre", lines(found), tabindex=0))


def _facts(look: Document) -> list[Markup]:
    """Return everything else, a line each, however it is nested."""
    return [
        tag("div", tag("dt", _title(name)), tag("dd", _figure(name, value)), class_="fact")
        for name, value in look.items()
        if name not in _ELSEWHERE and name not in _OWN_FORM and value not in (None, "", [], {})
    ]


def _title(name: str) -> str:
    """Return a field's name without the unit that its figure shows."""
    for unit in _UNITS:
        name = name.removesuffix(unit)
    return name.replace("_", " ")


def _figure(name: str, value: object) -> str:
    """Return a value in words; nested ones in a row."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int() | float() if name.endswith("_bytes"):
            return size(value)
        case int() | float() if name.endswith("_ms"):
            return duration(value / 1000)
        case int() | float() if name.endswith("_s"):
            return duration(value)
        case Mapping() if name == "pressure":
            return _pressure(value)
        case Mapping():
            told = (
                f"{_title(str(key))} {_figure(str(key), each)}"
                for key, each in value.items()
                if each not in (None, "", [], {}, 0, 0.0)
            )
            return ", ".join(told) or "none"
        case str():
            return value
        case Sequence():
            return ", ".join(_figure(name, each) for each in value)
        case _:
            return str(value)


def _pressure(value: Mapping[str, Any]) -> str:
    """Write the shares of the last ten seconds in which something had to wait."""
    told = [
        f"{_title(str(name))} {degree} {averages['avg10']} %"
        for name, shares in value.items()
        if isinstance(shares, Mapping)
        for degree, averages in shares.items()
        if isinstance(averages, Mapping) and averages.get("avg10")
    ]
    return ", ".join(told) or "none in the last 10s"
