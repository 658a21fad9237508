"""The report of one day: what it tells, and that a day without news is one line."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agentd.config.encodable import utc_text
from agentd.core.records import IncidentRecord, Member, Rollup
from agentd.reporting.daily import Given, daily_document, rollups_since, rows_since
from agentd.reporting.days import days_between, moment_of, span_of
from agentd.reporting.history import Past, Place, history_document
from agentd.reporting.text import report_markdown, report_text
from agentd.reporting.timeline import bar, timeline
from agentd.store.rows import IncidentRow, LifeRow
from tests.reporting.lives import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Brief, rows

BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 11, 20)
SPAN = span_of(DAY, UTC) or (0, 0)
BEGINS_MS, ENDS_MS = SPAN
BORN = (
    (BEGINS_MS - DAY_MS, "added"),
    (BEGINS_MS - DAY_MS, "started"),
    (BEGINS_MS - DAY_MS, "ready"),
)


def place(zone: tzinfo = UTC) -> Place:
    return Place("here", str(zone), zone)


def hourly(**usual: int) -> list[Rollup]:
    """Hours of the last 15 days, the day of the report the last of them."""
    base = replace(Rollup("a", 0, cycles=10, tokens=9_000, cost_micros=30_000), **usual)
    return [
        replace(base, begins_ms=BEGINS_MS - 14 * DAY_MS + hour * HOUR_MS) for hour in range(15 * 24)
    ]


def report(
    *told: Brief,
    rollups: Sequence[Rollup] = (),
    incidents: Sequence[IncidentRow] = (),
    more: Sequence[LifeRow] = (),
    names: Sequence[str] = ("a",),
    **given: Any,  # noqa: ANN401 - fields of Given
) -> dict[str, Any]:
    past = Past(BEGINS_MS - 7 * DAY_MS, ENDS_MS, [*rows(*BORN, *told), *more], rollups)
    whole = Given(DAY, SPAN, past, names, incidents, **given)
    return daily_document(whole, place())


def agent(document: dict[str, Any], name: str = "a") -> dict[str, Any]:
    return next(dict(each) for each in document["agents"] if each["name"] == name)


def incident(number: int = 7, *, resolved_ms: int | None = None, by: str = "") -> IncidentRow:
    opened_ms = BEGINS_MS + HOUR_MS
    record = IncidentRecord(
        number, f"key-{number}", "TIMEOUT", "critical", "a is stuck in recv", opened_ms, opened_ms,
        "a", members=(Member("a", opened_ms),), acknowledged_by=by,
    )  # fmt: skip
    return IncidentRow(record, opened_ms, opened_ms, resolved_ms, resolved_ms, None)


def test_a_day_without_news_is_one_line_of_good_news() -> None:
    document = report(rollups=hourly())
    assert document["ok"]
    assert agent(document)["alive_all_day"]
    assert report_text(document, UTC) == (
        "2026-11-20, here: all is well, nothing needs you. 1 of 1 agent alive the whole day; "
        "no restart; 216,000 tokens, $0.72"
    )


def test_a_day_without_agents_is_no_news() -> None:
    document = daily_document(Given(DAY, SPAN, Past(*SPAN, []), ()), place())
    assert document["ok"]
    assert "\n" not in report_text(document, UTC)


def test_a_crash_is_told_with_its_time_and_how_long_it_lasted() -> None:
    died_ms = BEGINS_MS + 3 * HOUR_MS
    document = report(
        *((died_ms, "exited", "CRASHED"), (died_ms, "cooldown", "CRASHED")),
        *((died_ms + 5 * MINUTE_MS, "restarting", "CRASHED"), (died_ms + 5 * MINUTE_MS, "started")),
        (died_ms + 5 * MINUTE_MS + 30 * SECOND_MS, "ready"),
    )
    told = agent(document)
    assert not document["ok"]
    assert told["alive_all_day"] is False
    assert told["downtime_s"] == 330
    assert told["downs"] == [
        {
            "from": utc_text(died_ms),
            "to": utc_text(died_ms + 330_000),
            "reason": "CRASHED",
            "duration_s": 330.0,
        }
    ]
    assert [each["reason"] for each in told["restarts"]] == ["CRASHED"]
    assert len(told["cooldowns"]) == 1
    assert "a: down at 03:00 for 5m30s (CRASHED)" in report_text(document, UTC)
    assert "a: down at 04:00 for 5m30s" in report_text(document, BERLIN)


def test_an_outage_over_midnight_is_charged_to_each_day_by_its_part() -> None:
    document = report((BEGINS_MS - HOUR_MS, "exited", "CRASHED"))
    [down] = agent(document)["downs"]
    assert down["from"] == utc_text(BEGINS_MS)
    assert down["to"] is None, "it went on"
    assert agent(document)["downtime_s"] == 86_400


def test_what_operators_did_on_purpose_is_no_bad_news() -> None:
    at_ms = BEGINS_MS + HOUR_MS
    document = report(
        *((at_ms, "exited", "USER_RESTARTED"), (at_ms, "started"), (at_ms + 1_000, "ready")),
        *((at_ms + HOUR_MS, "paused", "USER_PAUSED"),),
    )
    assert document["ok"]
    assert "at rest for a time" not in report_text(document, UTC), "it also was down: told there"
    assert "1 restart" in report_text(document, UTC)


def test_what_a_policy_holds_back_waits_for_a_person() -> None:
    at_ms = BEGINS_MS + HOUR_MS
    document = report(
        *((at_ms, "budget.exceeded", "BUDGET_EXCEEDED"), (at_ms, "paused", "BUDGET_EXCEEDED"))
    )
    [need] = agent(document)["needs_human"]
    assert (need["kind"], need["next"]) == ("paused", "agentctl resume a")
    assert len(agent(document)["budgets"]) == 1
    text = report_text(document, UTC)
    assert text.startswith("2026-11-20, here: 1 agent of 1 waits for you")
    assert "Needs you:" in text


def test_an_escalation_waits_for_a_person_until_somebody_comes() -> None:
    at_ms = BEGINS_MS + HOUR_MS
    gone = ((at_ms, "exited", "CRASHED"), (at_ms, "escalated", "CRASHED"))
    assert [each["kind"] for each in agent(report(*gone))["needs_human"]] == ["escalated"]
    back = ((at_ms + 1, "started"), (at_ms + 2, "ready"))
    assert agent(report(*gone, *back))["needs_human"] == []


def test_incidents_are_open_or_recovered_or_somebody_elses_work() -> None:
    over_ms = BEGINS_MS + 2 * HOUR_MS
    assert [each["incident"] for each in agent(report(incidents=[incident()]))["needs_human"]] == [
        7
    ]
    by_itself = report(incidents=[incident(resolved_ms=over_ms)])
    assert [each["incident"] for each in agent(by_itself)["recovered"]] == [7]
    assert agent(by_itself)["needs_human"] == []
    helped = report(incidents=[incident(resolved_ms=over_ms, by="ada")])
    assert agent(helped)["recovered"] == []
    # Solved this morning: the report of yesterday, told at eight, wakes nobody for it.
    later = incident(resolved_ms=ENDS_MS + HOUR_MS)
    assert agent(report(incidents=[later]))["needs_human"]
    assert not agent(report(incidents=[later], now_ms=ENDS_MS + 8 * HOUR_MS))["needs_human"]


def test_an_open_incident_of_agents_that_are_gone_is_not_forgotten() -> None:
    document = report(
        incidents=[replace(incident(), incident=replace(incident().incident, members=()))]
    )
    assert [each["incident"] for each in document["needs_human"]] == [7]
    assert not document["ok"]
    assert "the host needs you" in report_text(document, UTC)


def test_an_open_incident_is_its_agents_even_on_a_day_before_it_existed() -> None:
    member = Member("crash", ENDS_MS, ("agent.exited", "agent.escalated"))
    late, gave_up = incident(3), incident(4)
    late = replace(late, incident=replace(late.incident, severity="warning"))
    record = replace(gave_up.incident, agent="crash", members=(member,))
    found = [late, replace(gave_up, incident=record)]
    past = Past(BEGINS_MS - 7 * DAY_MS, ENDS_MS, [])
    document: dict[str, Any] = daily_document(Given(DAY, SPAN, past, [], found), place())
    assert document["needs_human"] == []
    assert [each["name"] for each in document["agents"]] == ["a", "crash"]
    assert [each["next"] for each in agent(document, "crash")["needs_human"]] == [
        "agentctl start crash"
    ]
    text = report_text(document, UTC)
    assert "the host needs you" not in text
    assert "alive" not in text
    assert text.index("  crash: incident 4") < text.index("  a: incident 3"), "the worst first"


def test_an_incident_of_many_agents_is_one_line_under_its_own_first_agent() -> None:
    names = [f"m{number}" for number in range(1, 21)]
    members = tuple(Member(name, BEGINS_MS, ("agent.escalated",)) for name in names)
    found = replace(
        incident(1), incident=replace(incident(1).incident, agent="m16", members=members)
    )
    at_ms = BEGINS_MS + HOUR_MS
    more = [
        row
        for index, name in enumerate(names)
        for row in rows(
            (BEGINS_MS - DAY_MS, "ready"),
            (at_ms, "exited", "CRASHED"),
            (at_ms, "escalated", "CRASHED"),
            agent=name,
            first_id=100 * (index + 1),
        )
    ]
    document = report(incidents=[found], more=more, names=["a", *names])
    lines = report_text(document, UTC).split("Slow problems:")[0].split("What happened:")[0]
    needs = [line for line in lines.splitlines() if line.startswith("  ")]
    assert needs == [
        "  m16 and 19 more: incident 1, open: a is stuck in recv (agentctl incident 1)"
    ]
    assert "20 agents of 21 wait for you" in lines


def test_waiting_for_the_first_start_is_no_rest_and_a_new_agent_was_alive_all_day() -> None:
    at_ms = BEGINS_MS + 8 * HOUR_MS
    told = ((at_ms, "added"), (at_ms + 50, "started"), (at_ms + SECOND_MS, "ready"))
    idle = rows((at_ms, "added"), agent="idle", first_id=90)
    document = report(
        more=[*rows(*told, agent="new", first_id=50), *idle], names=["a", "new", "idle"]
    )
    new = agent(document, "new")
    assert (new["alive_all_day"], new["paused_s"], new["unknown_s"]) == (True, 0, 0)
    assert new["new_since"] == utc_text(at_ms + SECOND_MS)
    assert agent(document, "idle")["paused_s"] == 16 * 3_600, "one never started rests"
    assert agent(document)["new_since"] is None
    assert document["ok"]
    assert "2 of 3 agents alive the whole day; new that day: new, idle" in report_text(
        document, UTC
    )


def test_actions_that_were_cut_off_wait_for_a_person() -> None:
    [need] = agent(report(unfinished={"a": ["refund:918"]}))["needs_human"]
    assert "refund:918" in need["message"]


def test_an_agent_that_was_removed_that_day_is_in_the_report() -> None:
    told = ((BEGINS_MS + 1, "added"), (BEGINS_MS + 2, "ready"), (BEGINS_MS + HOUR_MS, "removed"))
    more = rows(*told, agent="gone", first_id=50)
    document = report(more=more)
    assert [each["name"] for each in document["agents"]] == ["a", "gone"]
    assert not agent(document, "gone")["alive_all_day"]
    assert document["ok"]


def test_an_agent_that_came_later_is_not() -> None:
    assert [each["name"] for each in report(names=["a", "new"])["agents"]] == ["a"]


@pytest.mark.parametrize(
    ("today", "outside"),
    [
        ({}, False),
        ({"tokens": 11_000}, False),  # a fifth more
        ({"tokens": 12_000}, True),
        ({"tokens": 6_000}, True),  # much less work may be no work
        ({"cost_micros": 60_000}, True),  # the same tokens, of a dearer model
        ({"cycles": 20, "tokens": 18_000, "cost_micros": 60_000}, False),  # twice the work
    ],
)
def test_a_cycle_is_compared_with_those_of_the_days_before(
    today: dict[str, int], outside: bool
) -> None:  # fmt: skip
    usual = hourly()
    made = usual[:-24] + [replace(each, **today) for each in usual[-24:]]
    cost = agent(report(rollups=made))["cost"]
    assert cost["baseline"] == 900
    assert cost["outside_baseline"] is outside


def test_words_of_agents_do_not_act_on_terminals_or_markdown() -> None:
    at_ms = BEGINS_MS + HOUR_MS
    evil = replace(rows((at_ms, "loop.detected"))[0], id=99, message="*x* <b> \x1b[2J\u202e")
    document = report(more=[replace(evil, agent="a")])
    assert "\x1b" not in report_text(document, UTC)
    assert "\u202e" not in report_text(document, UTC)
    assert r"\*x\* \<b\>" in report_markdown(document, UTC)
    assert report_markdown(document, UTC).startswith("**")


# --- civil days


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 11, 20), 24)],
)
def test_days_are_as_long_as_clocks_make_them(day: date, hours: int) -> None:
    span = span_of(day, BERLIN)
    assert span is not None
    assert span[1] - span[0] == hours * HOUR_MS
    past = Past(span[0], span[1], [])
    [only] = list(days_between(span[0], span[1], BERLIN))
    assert only == (day, span)
    up = rows((span[0] - DAY_MS, "started"), (span[0] - DAY_MS, "ready"))
    document = daily_document(Given(day, span, replace(past, rows=up), ["a"]), place(BERLIN))
    assert agent(document)["alive_all_day"]


def test_a_date_that_a_zone_skipped_is_none() -> None:
    assert span_of(date(2011, 12, 30), ZoneInfo("Pacific/Apia")) is None


def test_a_time_that_is_skipped_comes_later_and_one_that_is_twice_at_first() -> None:
    skipped = moment_of(date(2026, 3, 29), "02:30", BERLIN)
    assert utc_text(skipped) == "2026-03-29T01:30:00.000Z"
    twice = moment_of(date(2026, 10, 25), "02:30", BERLIN)
    assert utc_text(twice) == "2026-10-25T00:30:00.000Z"


def test_a_report_reads_back_as_far_as_its_rules_look() -> None:
    assert ENDS_MS - rollups_since(SPAN, UTC) >= 15 * DAY_MS
    assert rollups_since(SPAN, UTC) <= round(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000)
    assert BEGINS_MS - rows_since(SPAN, UTC) >= 6 * DAY_MS


# --- the bar


def test_a_bar_shows_an_outage_however_short() -> None:
    told = rows((0, "started"), (0, "ready"), (5 * HOUR_MS, "exited", "CRASHED"),
                (5 * HOUR_MS + 1, "ready"), (6 * HOUR_MS, "exited", "CRASHED"),
                (8 * HOUR_MS, "ready"), (9 * HOUR_MS, "paused", "USER_PAUSED"))  # fmt: skip
    document: dict[str, Any] = history_document(Past(-HOUR_MS, 11 * HOUR_MS, told), ["a"], place())
    assert bar(document["agents"][0], -HOUR_MS, 11 * HOUR_MS, 12) == " =====xXX=.."


@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_a_timeline_fits_the_terminal_and_has_a_legend(width: int | None) -> None:
    told = rows((0, "started"), (0, "ready"), (5 * HOUR_MS, "exited", "OOM_KILLED"))
    document: dict[str, Any] = history_document(
        Past(0, 10 * HOUR_MS, told), ["a", "an-agent-with-quite-a-long-name"], place()
    )
    lines = timeline(document, UTC, width).splitlines()
    assert all(len(line) <= (width or 80) for line in lines), lines
    assert any("X down" in line for line in lines)
    assert lines[-1] == "a: down 1970-01-01 05:00 for 5h00m so far: OOM_KILLED"
    assert timeline({"agents": []}, UTC, width) == "no agents"
