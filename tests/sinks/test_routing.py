"""Who is told of what."""

import pytest

from agentd.config.schema import SinkConfig
from agentd.sinks.routing import Subject, reported, routed
from tests.sinks.samples import config

ORDERS = Subject(
    kind="trigger",
    severity="warning",
    event="agent.unreachable",
    agents=("orders",),
    tags=("shop",),
)


def taken(sink: SinkConfig, subject: Subject, told: set[str] | None = None) -> bool:
    return routed([sink], subject, told) == [sink]


@pytest.mark.parametrize(
    ("least", "severity", "expected"),
    [
        ("info", "info", True),
        ("warning", "info", False),
        ("warning", "warning", True),
        ("warning", "critical", True),
        ("critical", "warning", False),
        ("critical", "critical", True),
    ],
)
def test_by_severity(least: str, severity: str, expected: bool) -> None:
    subject = Subject("trigger", severity, "agent.exited", ("orders",))
    assert taken(config("slack", min_severity=least), subject) is expected


@pytest.mark.parametrize(
    ("globs", "agents", "expected"),
    [
        (["*"], ("orders",), True),
        (["orders"], ("orders",), True),
        (["ord*"], ("orders",), True),
        (["mail*"], ("orders",), False),
        (["mail*"], ("orders", "mailer"), True),  # one of those in the incident is enough
        (["tag:shop"], ("orders",), True),
        (["tag:sh*"], ("orders",), True),
        (["tag:orders"], ("orders",), False),
        (["shop"], ("orders",), False),
        ([], ("orders",), False),
        (["*"], (), True),
        (["all"], (), True),
        (["ord*"], (), False),  # what is the host's is for whoever watches all of it
    ],
)
def test_by_agent(globs: list[str], agents: tuple[str, ...], expected: bool) -> None:
    subject = Subject("trigger", "warning", "agent.exited", agents, ("shop",))
    assert taken(config("slack", agents=globs), subject) is expected


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        ([], True),
        (["agent.unreachable"], True),
        (["agent.*"], True),
        (["cost.*"], False),
        (["cost.*", "agent.un*"], True),
    ],
)
def test_by_event(globs: list[str], expected: bool) -> None:
    assert taken(config("slack", events=globs), ORDERS) is expected


@pytest.mark.parametrize("kind", ["reminder", "resolve"])
def test_what_follows_goes_to_those_who_were_told_and_to_nobody_else(kind: str) -> None:
    strict = config("slack", min_severity="critical", agents=["x"], events=["cost.*"])
    open_to_all = config("webhook", min_severity="info")
    follows = Subject(kind, "info", "agent.recovered", ("orders",))  # type: ignore[arg-type]
    assert taken(strict, follows, {"ops"})
    assert not taken(open_to_all, follows, set())


@pytest.mark.parametrize("kind", ["reminder", "resolve"])
def test_where_nobody_knows_who_was_told_the_incidents_severity_decides(kind: str) -> None:
    sink = config("slack", min_severity="critical", events=["agent.unreachable"])
    ends = Subject(kind, "critical", "agent.recovered", ("orders",))  # type: ignore[arg-type]
    milder = Subject(kind, "warning", "agent.recovered", ("orders",))  # type: ignore[arg-type]
    assert taken(sink, ends)
    assert not taken(sink, milder)


def test_an_acknowledgement_is_for_pagerduty_alone() -> None:
    subject = Subject("acknowledge", "critical", "incident.updated", ("orders",))
    assert taken(config("pagerduty"), subject, {"ops"})
    assert taken(config("pagerduty"), subject)
    for kind in ("slack", "webhook", "command", "apprise"):
        assert not taken(config(kind), subject, {"ops"})


@pytest.mark.parametrize(
    ("sink", "expected"),
    [
        (config("slack", min_severity="info"), True),
        (config("slack"), False),
        (config("pagerduty", min_severity="info"), False),
        (config("slack", min_severity="info", agents=["orders"]), False),
        (config("slack", min_severity="info", agents=["orders", "*"]), True),
        (config("slack", min_severity="info", events=["agent.*"]), False),
        (config("slack", min_severity="info", events=["report.*"]), True),
    ],
)
def test_the_daily_report_goes_to_whoever_wants_to_know_everything(
    sink: SinkConfig, expected: bool
) -> None:
    assert bool(reported([sink])) is expected


def test_the_order_is_that_of_the_config() -> None:
    sinks = [config("slack"), config("webhook", min_severity="critical"), config("command")]
    assert [sink.type for sink in routed(sinks, ORDERS)] == ["slack", "command"]
