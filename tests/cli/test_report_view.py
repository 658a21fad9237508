"""`agentctl history` and `agentctl report` as a person reads them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.reported import HISTORY, REPORT
from tests.cli.stub import Answer, Stub

Serve = Callable[[dict[str, Answer]], Stub]
Ctl = Callable[..., tuple[int, str, str]]


def test_history_is_a_bar_with_a_legend_and_its_outages(serve: Serve, ctl: Ctl) -> None:
    serve({"history": HISTORY})
    code, out, _ = ctl("history")
    assert code == 0
    assert out.splitlines() == [
        "2026-11-14 09:00 to 2026-11-21 09:00 (Europe/Berlin), 7h00m a symbol",
        "AGENT                                          AVAIL  RESTARTS      DOWN    COST",
        "order-processor  [   ======x===========...]  98.00 %         2  2x 5m00s   $9.50",
        "= up   x partly down   X down   . at rest   (blank) unknown",
        "order-processor: down 2026-11-17 03:00 for 5m00s: OOM_KILLED",
    ]


def test_history_asks_for_what_it_was_told(serve: Serve, ctl: Ctl) -> None:
    daemon = serve({"history": HISTORY})
    ctl("history", "order-*", "--since", "2026-11-14T09:00+01:00")
    [request] = [each for each in daemon.asked if each["cmd"] == "history"]
    assert request["args"] == {"select": ["order-*"], "since_ms": 1_794_643_200_000}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("report", "--date", ""), "--date is empty"),
        (("history", "--since", "99999d"), "longer than ten years"),
        (("incidents", "-n", "99999999999999999999"), "not in the range"),
        (("events", "-n", "99999999999999999999"), "not in the range"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    serve: Serve, ctl: Ctl, words: tuple[str, ...], told: str
) -> None:
    serve({})
    code, _, err = ctl(*words)
    assert code == 2
    assert told in err


def test_ack_of_a_resolved_incident_names_it_once(serve: Serve, ctl: Ctl) -> None:
    over = {"id": 2, "open": False, "message": "incident 2 is resolved already"}
    serve({"ack": over})
    assert ctl("ack", "2")[:2] == (0, "incident 2 is resolved already\n")


def test_a_report_says_first_what_waits_for_a_person(serve: Serve, ctl: Ctl) -> None:
    serve({"report": REPORT})
    code, out, _ = ctl("report", "--date", "2026-11-20")
    assert code == 0
    assert out.splitlines() == [
        "2026-11-20, here: 1 agent of 1 waits for you, 1 slow problem",
        "",
        "Needs you:",
        (
            "  order-processor: incident 12, open: order-processor was killed for memory "
            "(agentctl incident 12)"
        ),
        "",
        "Slow problems:",
        "  order-processor: restarted at about 03:00 on 4 of the last 7 days (OOM_KILLED)",
        "",
        "What happened:",
        "  order-processor: down at 03:00 for 5m00s (OOM_KILLED)",
        "  order-processor: 1 restart: OOM_KILLED",
        (
            "  order-processor: outside its baseline: 1,310 tokens a cycle, usually 900 (+46 %); "
            "$0.004 a cycle, usually $0.003 (+33 %)"
        ),
        "",
        "In all:",
        "  0 of 1 agent alive the whole day",
        "  1 restart",
        "  88,000 tokens, $1.40",
    ]


def test_markdown_has_headings_and_lists(serve: Serve, ctl: Ctl) -> None:
    serve({"report": REPORT})
    _, out, _ = ctl("report", "--markdown")
    assert out.startswith("**2026-11-20, here: ")
    assert "### Slow problems\n\n- order-processor: restarted" in out
    assert "OOM\\_KILLED" in out


def test_the_default_is_the_last_whole_day_by_the_daemons_clock(serve: Serve, ctl: Ctl) -> None:
    daemon = serve({"report": REPORT})
    _, out, _ = ctl("report", "--json")
    assert json.loads(out) == REPORT
    assert [each["args"] for each in daemon.asked if each["cmd"] == "report"] == [{}]


@pytest.mark.parametrize("words", [["report", "--json", "--markdown"]])
def test_json_and_markdown_exclude_each_other(serve: Serve, ctl: Ctl, words: list[str]) -> None:
    serve({"report": REPORT})
    code, _, err = ctl(*words)
    assert code == 2
    assert "--markdown" in err


def test_what_a_daemon_says_does_not_act_on_the_terminal(serve: Serve, ctl: Ctl) -> None:
    agent: dict[str, Any] = {**HISTORY["agents"][0], "name": "\x1b[2Jevil"}
    serve({"history": {**HISTORY, "agents": [agent]}})
    assert "\x1b" not in ctl("history")[1]
