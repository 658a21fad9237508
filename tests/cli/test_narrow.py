"""Tables on terminals of any width: what matters stays readable, the rest makes room."""

import pytest

from agentd.cli.views.agents import status_table, top_table
from agentd.cli.views.details import details
from agentd.cli.views.journal import event_table
from agentd.cli.views.table import Table, cell, fitted, plain
from agentd.cli.views.words import clock
from tests.cli.stub import agent, event, status

FLEET = status(
    agent("order-processor", task="ticket-918", reason=None),
    agent("crawler", state="cooldown", health="unreachable", pid=None, uptime_s=None,
          reason="EXITED", cooldown_s=192.2),
)  # fmt: skip


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_a_line_is_never_wider_than_the_terminal_if_names_alone_fit(width: int) -> None:
    for table in (status_table(FLEET), top_table(FLEET)):
        text = plain(table, width)
        assert max(map(len, text.splitlines())) <= max(width, 52)
        assert "order-processor" in text  # a name is what one types next: never cut
        assert "unreachable" in text


def test_at_80_columns_the_reason_stays_and_the_cost_goes() -> None:
    head = plain(status_table(FLEET), 80).splitlines()[0].split()
    assert {"AGENT", "STATE", "HEALTH", "REASON"} <= set(head)
    assert "COST" not in head


def test_a_wide_terminal_and_a_pipe_show_everything() -> None:
    assert plain(status_table(FLEET), 200) == plain(status_table(FLEET))
    assert "EXITED, next start in 3m13s" in plain(status_table(FLEET))


def test_a_column_that_says_nothing_is_the_first_to_go() -> None:
    table = Table(("NAME", "A", "B"), [(cell("x" * 10), cell("aaaa"), cell(None))],
                  spare=("A", "B"))  # fmt: skip
    assert list(fitted(table, 16).columns) == ["NAME", "A"]
    assert list(fitted(table, 12).columns) == ["NAME"]
    assert list(fitted(table, 1).columns) == ["NAME"]


def test_a_message_is_never_cut_it_goes_on_below_itself() -> None:
    words = "silent for 15s (a heartbeat is expected every 2s); last status waiting_llm, task x"
    day, moment = clock(event(1)["time"]).split()
    lines = plain(event_table([event(1, message=words)], day), 80).splitlines()
    indent = lines[0].index("MESSAGE")
    assert all(line[:indent].isspace() for line in lines[2:])
    assert " ".join(line[indent:].strip() for line in lines[1:]) == f"EXITED: {words}"
    assert lines[1].startswith(f"{moment} ")  # today goes without saying


def test_details_break_their_lines_below_the_subject() -> None:
    text = details(agent("a", reason="TIMEOUT", evidence="silent for long " * 9), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert details(agent("a")) == details(agent("a"), 400)
