"""The metrics: the status document and its counters as Prometheus reads them.

What is not known has no sample, never a zero: an unknown cost is not a cost of nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agentd import __version__
from agentd.http.link import Document

HEALTHS: Final = ("healthy", "degraded", "unreachable", "killed", "unknown")
STATES: Final = (
    *("stopped", "starting", "running", "stopping", "paused", "parked"),
    *("cooldown", "escalated", "completed"),
)
BREAKER_STATES: Final = ("closed", "half_open", "open")

# Metric of one agent → (help, path to its value in the agent's document).
GAUGES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "agentd_agent_silence_seconds": ("Since the last heartbeat.", ("silence_s",)),
    "agentd_agent_uptime_seconds": ("Since its process was started.", ("uptime_s",)),
    "agentd_agent_memory_bytes": ("Memory of its whole tree.", ("rss_bytes",)),
    "agentd_agent_memory_limit_bytes": ("Its limit of memory.", ("memory_limit_bytes",)),
    "agentd_agent_memory_forecast_seconds": (
        "Until it reaches the limit, if it goes on as it does.",
        ("memory_forecast_s",),
    ),
    "agentd_agent_cpu_percent": ("CPU of its whole tree; 100 is one core.", ("cpu_percent",)),
    "agentd_agent_unfinished_actions": ("Actions in flight.", ("unfinished_actions",)),
}
COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "agentd_agent_heartbeats": ("Heartbeats taken.", ("heartbeats",)),
    "agentd_agent_tokens": ("Tokens used.", ("tokens", "total")),
    "agentd_agent_cost_usd": ("Dollars spent, as far as known.", ("counters", "cost_usd_total")),
}
DAEMON_GAUGES: Final[Mapping[str, tuple[str, str]]] = {
    "agentd_uptime_seconds": ("Since the daemon was started.", "uptime_s"),
    "agentd_memory_bytes": ("Resident memory of the daemon.", "rss_bytes"),
    "agentd_open_fds": ("Descriptors that the daemon has open.", "open_fds"),
    "agentd_loop_lag_seconds": ("How late the daemon's loop is.", "loop_lag_s"),
}
DAEMON_COUNTERS: Final[Mapping[str, tuple[str, str]]] = {
    "agentd_heartbeats": ("Heartbeats taken from all agents.", "heartbeats"),
    "agentd_lines_rejected": ("Lines of agents that were refused.", "lines_rejected"),
}


class StatusCollector(Collector):
    """All metrics of one scrape; `status` is None while the daemon is not there."""

    def __init__(self, status: Document | None, open_incidents: int | None) -> None:
        self._status = status
        self._open_incidents = open_incidents

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "agentd_up", "Whether the daemon answers.", value=float(self._status is not None)
        )
        build = GaugeMetricFamily("agentd_build_info", "Its version.", labels=["version"])
        daemon = (self._status or {}).get("daemon") or {}
        build.add_metric([str(daemon.get("version") or __version__)], 1)
        yield build
        if self._status is None:
            return
        if self._open_incidents is not None:
            yield GaugeMetricFamily(
                "agentd_incidents_open", "Open incidents.", value=self._open_incidents
            )
        yield from _of_daemon(daemon)
        yield _breakers(self._status.get("breakers") or ())
        yield from _of_agents(self._status.get("agents") or ())


def _of_daemon(daemon: Document) -> Iterator[Metric]:
    for name, (told, key) in DAEMON_GAUGES.items():
        if daemon.get(key) is not None:
            yield GaugeMetricFamily(name, told, value=daemon[key])
    for name, (told, key) in DAEMON_COUNTERS.items():
        if daemon.get(key) is not None:
            yield CounterMetricFamily(name, told, value=daemon[key])
    if "storage" in daemon:
        value = float(daemon["storage"] == "ok")
        yield GaugeMetricFamily("agentd_storage_ok", "Whether history can be kept.", value=value)


def _breakers(breakers: Iterable[Document]) -> Metric:
    told = "1 for the state that a shared dependency's breaker is in."
    family = GaugeMetricFamily("agentd_breaker_state", told, labels=["breaker", "state"])
    for breaker in breakers:
        for state in BREAKER_STATES:
            family.add_metric([breaker["name"], state], float(breaker["state"] == state))
    return family


def _of_agents(agents: Sequence[Document]) -> Iterator[Metric]:
    yield _one_of(agents, "agentd_agent_health", "health", HEALTHS)
    yield _one_of(agents, "agentd_agent_state", "state", STATES)
    yield _gauge(
        agents,
        "agentd_agent_up",
        "Whether its process runs.",
        lambda agent: agent.get("pid") is not None,
    )
    yield _gauge(
        agents,
        "agentd_agent_incidents_open",
        "Open incidents that it is part of.",
        lambda agent: agent.get("open_incident") is not None,
    )
    for name, (told, path) in GAUGES.items():
        yield _gauge(agents, name, told, lambda agent, path=path: _at(agent, path))
    for name, (told, path) in COUNTERS.items():
        family = CounterMetricFamily(name, told, labels=["agent"])
        for agent in agents:
            value = _at(agent, path)
            if value is not None:
                family.add_metric([agent["name"]], value)
        yield family
    yield _restarts(agents)
    yield _tasks(agents)
    yield _latency(agents)
    yield _budgets(agents)


def _one_of(agents: Sequence[Document], name: str, key: str, values: Sequence[str]) -> Metric:
    family = GaugeMetricFamily(name, f"1 for the {key} that it is in.", labels=["agent", "state"])
    for agent in agents:
        for value in values:
            family.add_metric([agent["name"], value], float(agent.get(key) == value))
    return family


def _gauge(agents: Sequence[Document], name: str, told: str, value_of: Any) -> Metric:  # noqa: ANN401 - a function of a document
    family = GaugeMetricFamily(name, told, labels=["agent"])
    for agent in agents:
        value = value_of(agent)
        if value is not None:
            family.add_metric([agent["name"]], float(value))
    return family


def _restarts(agents: Sequence[Document]) -> Metric:
    family = CounterMetricFamily(
        "agentd_agent_restarts", "Restarts, by what led to them.", labels=["agent", "reason"]
    )
    for agent in agents:
        for reason, count in (_at(agent, ("counters", "restarts_by_reason")) or {}).items():
            family.add_metric([agent["name"], reason], count)
    return family


def _tasks(agents: Sequence[Document]) -> Metric:
    family = CounterMetricFamily(
        "agentd_agent_tasks", "Tasks that it has reported.", labels=["agent", "result"]
    )
    for agent in agents:
        for result in ("success", "failure"):
            count = _at(agent, ("counters", f"tasks_{result}"))
            if count is not None:
                family.add_metric([agent["name"], result], count)
    return family


def _latency(agents: Sequence[Document]) -> Metric:
    family = HistogramMetricFamily(
        "agentd_agent_latency_seconds", "Latency of tasks that it has reported.", labels=["agent"]
    )
    for agent in agents:
        found = _at(agent, ("counters", "latency_histogram"))
        if found:
            family.add_metric([agent["name"]], _buckets(found), found["sum_ms"] / 1000)
    return family


def _buckets(histogram: Document) -> list[tuple[str, float]]:
    """Return cumulative buckets, the last of them for all, as the format wants them."""
    total, buckets = 0.0, []
    for bound_ms, count in zip(histogram["bounds_ms"], histogram["counts"], strict=False):
        total += count
        buckets.append((str(bound_ms / 1000), total))
    return [*buckets, ("+Inf", float(histogram["count"]))]


def _budgets(agents: Sequence[Document]) -> Metric:
    family = GaugeMetricFamily(
        "agentd_agent_budget_used_ratio",
        "How much of a budget is used; 1 is all of it.",
        labels=["agent", "budget"],
    )
    for agent in agents:
        for budget in agent.get("budgets") or ():
            limit, used = budget.get("limit"), budget.get("used")
            if limit and used is not None:
                family.add_metric([agent["name"], str(budget["name"])], used / limit)
    return family


def _at(document: Document, path: Sequence[str]) -> Any:  # noqa: ANN401 - a value of a JSON document
    found: Any = document
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found
