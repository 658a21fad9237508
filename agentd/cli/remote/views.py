"""Answers of several machines for people: tables with a HOST column, text under its host."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

from agentd.cli import operate
from agentd.cli.commands import (
    ack,
    alerts,
    checkpoints,
    daemon,
    history,
    logs,
    reload,
    report,
    show,
    version,
)
from agentd.cli.invocation import Invocation
from agentd.cli.remote.answers import Answer
from agentd.cli.top.sorting import ATTENTION, ordered
from agentd.cli.views.agents import HEALTHS, status_table, summary, top_table, verdict
from agentd.cli.views.alerts import queue_view
from agentd.cli.views.breakers import breakers_table
from agentd.cli.views.checkpoints import checkpoint_table
from agentd.cli.views.incidents import incident_text, incidents_table
from agentd.cli.views.journal import event_table
from agentd.cli.views.table import Cell, Table, cell
from agentd.reporting.words import visible

Document = dict[str, Any]
Params = Mapping[str, Any]
View = Callable[[Document], str | Table]

COLUMN: Final = "HOST"
ERROR: Final = Cell("error", "bold red")
TABLES: Final = frozenset({"status", "top", "events", "incidents", "breakers", "checkpoints"})
WITHOUT_ANSWER: Final = Table(("STATE", "ERROR"), (), wraps=True)
"""What is left of a table where no host has answered."""
DAEMON_REPLACED: Final = "agentd replaces itself; agents go on"


def _states(document: Document) -> str:
    return "\n".join(
        f"{visible(agent['name'])}: {visible(agent.get('state'))}, {visible(agent.get('health'))}"
        for agent in document["agents"]
    )


# Command -> what a person is shown of its document.
_VIEWS: Final[dict[str, Callable[[Params, Invocation], View]]] = {
    "status": lambda params, _: (
        (lambda found: verdict(found)[1]) if params.get("check") else status_table
    ),
    "top": lambda params, _: (
        lambda found: top_table(
            {**found, "agents": ordered(found["agents"], params.get("sort") or ATTENTION)}
        )
    ),
    "events": lambda _, call: lambda found: event_table(found["events"], call.today()),
    "incidents": lambda _, call: lambda found: incidents_table(found, call.today()),
    "incident": lambda _, call: lambda found: incident_text(found, call.width()),
    "logs": lambda params, _: lambda found: logs.render(found, raw=bool(params.get("raw"))),
    "history": lambda _, call: lambda found: history.told(found, call.width()),
    "report": lambda params, _: (
        lambda found: report.told(found, markdown=bool(params.get("markdown")))
    ),
    "checkpoints": lambda params, call: (
        checkpoints.state_text
        if params.get("state") or params.get("seq") is not None
        else lambda found: checkpoint_table(found, call.today())
    ),
    "alerts": lambda params, call: (
        alerts.taken if params.get("action") else lambda found: queue_view(found, call.today())
    ),
    "breakers": lambda _params, _call: breakers_table,
    "show": lambda _params, _call: show.render,
    "reload": lambda _params, _call: reload.render,
    "daemon": lambda params, _: (
        (lambda _found: DAEMON_REPLACED) if params.get("action") else daemon.render
    ),
    "version": lambda _params, _call: version.render,
    "ack": lambda _params, _call: ack.lines,
    "ping": lambda _params, _call: lambda _found: "agentd answers",
    "shutdown": lambda params, _: (
        lambda _found: "agentd stops" if params.get("no_wait") else "agentd has stopped"
    ),
    **dict.fromkeys(("is-active", "is-healthy", "is-failed"), lambda _params, _call: _states),
}


def view_of(name: str, params: Params, call: Invocation) -> View:
    """Return what a person is shown of a document of the command `name`."""
    found = _VIEWS.get(name)
    return operate.lines if found is None else found(params, call)


def joined(name: str, answers: Sequence[Answer], view: View) -> str | Table:
    """Lay out all answers to a command: one table with a row for each host, or one text.

    A document that is not as it should be is its host's error; it keeps back no other's. A
    text is of those alone that have answered: the others' errors are told beside it.
    """
    shown = [(answer, _shown(answer, view)) for answer in answers]
    tables = [part for _, part in shown if isinstance(part, Table)]
    if tables or (name in TABLES and all(answer.document is None for answer in answers)):
        return _table(shown, tables[0] if tables else WITHOUT_ANSWER)
    texts = [_text(answer.host, str(part)) for answer, part in shown if answer.document is not None]
    return "\n".join(texts)


def _shown(answer: Answer, view: View) -> str | Table:
    if answer.document is None:
        return error_text(answer)
    try:
        return view(answer.document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        return f"a document that this version can't show: {visible(told)}"


def error_text(answer: Answer) -> str:
    """Write why a host has no answer, and what can be done about it."""
    error = answer.error or {}
    hint = f" ({error['hint']})" if error.get("hint") else ""
    return visible(f"{error.get('message', '')}{hint}")


def _text(host: str, text: str) -> str:
    lines = text.splitlines() or [""]
    if len(lines) == 1:
        return f"{host}: {lines[0]}"
    return "\n".join([f"{host}:", *(f"  {line}" for line in lines)])


def _table(shown: Sequence[tuple[Answer, str | Table]], model: Table) -> Table:
    rows: list[tuple[str, Sequence[Cell]]] = []
    footers: list[str] = []
    for answer, part in shown:
        host = cell(answer.host)
        if isinstance(part, Table):
            moments = _moments(answer.document or {})
            rows += [
                (moment, (host, *row)) for moment, row in zip(moments, part.rows, strict=False)
            ]
            # What to type next is meant for that host, and would be another thing here.
            told = part.footer.partition("; agentctl ")[0]
            footers += [f"{answer.host}: {told}"] if told else []
        else:
            rows.append(("~", _error_row(host, part, len(model.columns))))
    answers = [answer for answer, _ in shown]
    away = sum(answer.document is None for answer in answers)
    counted = _counted(answers)
    parts = footers if counted is None else [counted]
    parts += [f"{away} of {len(answers)} hosts did not answer"] if away else []
    return model._replace(
        columns=(COLUMN, *model.columns),
        rows=[row for _, row in sorted(rows, key=lambda row: row[0])],
        footer=("\n" if counted is None else "; ").join(parts),
        wraps=model.wraps or away > 0,
    )


def _moments(document: Document) -> Iterator[str]:
    """Yield what each row is sorted by: the events of all hosts stand as they came about.

    Other rows stay as they are, which a stable sort of equals does.
    """
    yield from (str(event.get("time")) for event in document.get("events") or ())
    yield from repeat("")


def _error_row(host: Cell, message: str, columns: int) -> list[Cell]:
    """Make the row of a host without an answer: its error stands in the last column, whole."""
    return [host, ERROR, *[cell(None)] * (columns - 2), Cell(message, "red")]


def _counted(answers: Sequence[Answer]) -> str | None:
    """Add up the summaries of status documents; None: these are no such documents."""
    counts = [answer.document.get("summary") for answer in answers if answer.document]
    if not counts or not all(isinstance(one, dict) for one in counts):
        return None
    total = {name: sum(int(one.get(name) or 0) for one in counts if one) for name in HEALTHS}
    return summary({"summary": total})
