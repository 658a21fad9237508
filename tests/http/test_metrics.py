"""The metrics: what Prometheus reads is what the status says, and what is unknown isn't zero."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from agentd.client.errors import AgentdError
from agentd.http import metrics
from tests.http.site import Site, status

ROOT = Path(__file__).parents[2]
COUNTERS = {
    "restarts_by_reason": {"OOM_KILLED": 2, "EXITED": 1},
    "cost_usd_total": 12.5,
    "latency_histogram": {
        "bounds_ms": [100, 1000],
        "counts": [3, 4],
        "sum_ms": 2500.0,
        "count": 9,
    },
    "tasks_success": 40,
    "tasks_failure": 2,
}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def site_with(**known: object) -> Site:
    site = Site()
    site.daemon.agents = [site.daemon.agents[0] | {"counters": COUNTERS, **known}]

    def answer(_args: object) -> dict[str, Any]:
        document = status(*site.daemon.agents)
        document["daemon"] |= {"loop_lag_s": 0.002, "rss_bytes": 31457280, "open_fds": 40}
        document["daemon"] |= {"heartbeats": 7, "lines_rejected": 2}
        document["breakers"] = [{"name": "openai", "state": "open"}]
        return document

    site.daemon.answers["status"] = answer
    return site


async def scraped(site: Site) -> Samples:
    answer = await site.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def at(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


async def test_each_figure_is_the_one_of_the_status() -> None:
    samples = await scraped(
        site_with(silence_s=3.2, budgets=[{"name": "b", "limit": 5, "used": 4}])
    )
    name = "order-processor"
    expected: dict[tuple[str, str], float] = {
        ("agentd_agent_up", ""): 1,
        ("agentd_agent_health", "state=healthy"): 1,
        ("agentd_agent_health", "state=killed"): 0,
        ("agentd_agent_state", "state=running"): 1,
        ("agentd_agent_silence_seconds", ""): 3.2,
        ("agentd_agent_restarts_total", "reason=OOM_KILLED"): 2,
        ("agentd_agent_memory_bytes", ""): 104857600,
        ("agentd_agent_memory_limit_bytes", ""): 536870912,
        ("agentd_agent_tokens_total", ""): 88000,
        ("agentd_agent_cost_usd_total", ""): 12.5,
        ("agentd_agent_tasks_total", "result=failure"): 2,
        ("agentd_agent_latency_seconds_bucket", "le=0.1"): 3,
        ("agentd_agent_latency_seconds_bucket", "le=1.0"): 7,
        ("agentd_agent_latency_seconds_bucket", "le=+Inf"): 9,
        ("agentd_agent_latency_seconds_sum", ""): 2.5,
        ("agentd_agent_latency_seconds_count", ""): 9,
        ("agentd_agent_budget_used_ratio", "budget=b"): 0.8,
        ("agentd_agent_incidents_open", ""): 0,
    }
    for (metric, label), value in expected.items():
        labels = dict([label.split("=")]) if label else {}
        assert at(samples, metric, agent=name, **labels) == value, (metric, label)
    assert at(samples, "agentd_breaker_state", breaker="openai", state="open") == 1
    assert at(samples, "agentd_breaker_state", breaker="openai", state="closed") == 0
    assert at(samples, "agentd_build_info", version="0.1.0") == 1
    assert at(samples, "agentd_loop_lag_seconds") == 0.002
    assert at(samples, "agentd_incidents_open") == 0
    assert at(samples, "agentd_up") == 1


async def test_what_is_not_known_has_no_sample() -> None:
    unknown = {"silence_s": None, "rss_bytes": None, "memory_limit_bytes": None, "pid": None}
    samples = await scraped(
        site_with(
            counters={**COUNTERS, "cost_usd_total": None}, cost_usd={"known": False}, **unknown
        )
    )
    names = {name for name, _ in samples}
    assert not names & {
        "agentd_agent_cost_usd_total",
        "agentd_agent_silence_seconds",
        "agentd_agent_memory_bytes",
        "agentd_agent_memory_limit_bytes",
    }
    assert at(samples, "agentd_agent_up", agent="order-processor") == 0


async def test_an_incident_of_several_agents_is_one_and_those_of_none_count() -> None:
    site = site_with()
    one = site.daemon.agents[0]
    site.daemon.agents = [
        {**one, "name": name, "open_incident": number}
        for name, number in (("a", 3), ("b", 3), ("c", 4), ("d", None))
    ]
    site.daemon.incidents = [
        {"id": 3, "agents": ["a", "b"]},
        {"id": 4, "agents": ["c"]},
        {"id": 5, "agents": [], "cause": "daemon.fault"},
    ]
    samples = await scraped(site)
    assert at(samples, "agentd_incidents_open") == 3
    assert site.daemon.asked[-1] == ("incidents", {"open": True, "limit": metrics.INCIDENTS_MAX})
    assert at(samples, "agentd_agent_incidents_open", agent="b") == 1


async def test_a_name_that_would_break_the_format_does_not() -> None:
    breaker = 'a"b\\c\nagentd_up 0'
    site = site_with(budgets=[{"name": breaker, "limit": 1, "used": 1}])
    samples = await scraped(site)
    wanted = {"agent": "order-processor", "budget": breaker}
    assert at(samples, "agentd_agent_budget_used_ratio", **wanted) == 1
    assert at(samples, "agentd_up") == 1


async def test_a_daemon_that_is_gone_is_down_and_has_no_agents() -> None:
    site = site_with()
    site.daemon.go()
    samples = await scraped(site)
    assert at(samples, "agentd_up") == 0
    assert not [name for name, _ in samples if name.startswith("agentd_agent")]


async def test_scrapes_of_one_second_cost_one_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SCRAPE_AGE_S", 60.0)  # however slow we are
    site = site_with()
    for _ in range(10):
        await scraped(site)
    assert site.daemon.count("status") == 1
    assert site.daemon.count("incidents") == 1


async def test_a_history_that_cannot_be_read_costs_its_own_figure_alone() -> None:
    site = site_with()

    def refuse(_args: object) -> dict[str, Any]:
        raise AgentdError("storage_unavailable", "the history can't be read")

    site.daemon.answers["incidents"] = refuse
    samples = await scraped(site)
    assert at(samples, "agentd_up") == 1
    assert at(samples, "agentd_incidents_open") is None


async def test_openmetrics_is_spoken_where_it_is_asked_for() -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    answer = await site_with().get("/metrics", accept=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.rstrip().endswith(b"# EOF")


def named_in(text: str) -> set[str]:
    return set(re.findall(r"\bagentd_[a-z_]+\b", text))


@pytest.mark.parametrize(
    "path", ["contrib/grafana/agentd.json", "contrib/prometheus/agentd-alerts.yml"]
)
async def test_what_others_are_given_reads_only_what_is_exported(path: str) -> None:
    budgets = [{"name": "b", "limit": 5, "used": 4}]
    samples = await scraped(site_with(budgets=budgets, memory_forecast_s=60.0, silence_s=1.0))
    wanted = named_in((ROOT / path).read_text())
    assert len(wanted) > 8
    assert wanted <= {name for name, _ in samples}


def test_each_alert_says_what_is_wrong_and_what_is_next() -> None:
    document = yaml.safe_load((ROOT / "contrib/prometheus/agentd-alerts.yml").read_text())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 8
    for rule in rules:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "next"}
        assert named_in(rule["expr"]), rule["alert"]


def test_the_dashboard_for_grafana_is_one() -> None:
    document = json.loads((ROOT / "contrib/grafana/agentd.json").read_text())
    assert document["schemaVersion"] >= 39
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    for panel in panels:
        assert panel["title"]
        assert panel["targets"]
        assert {"h", "w", "x", "y"} == set(panel["gridPos"])
        for target in panel["targets"]:
            assert named_in(target["expr"]), panel["title"]
