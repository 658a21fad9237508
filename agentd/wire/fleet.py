"""The part of the status document that is about the other hosts; null without `[fleet] nats`."""

from agentd.core import fleet_budget
from agentd.core.supervisor import Supervisor

Document = dict[str, object]


def fleet_document(core: Supervisor) -> Document | None:
    """Return how this host sees the others, and how the budget over all of them stands here."""
    hosts = core.hosts
    if not hosts.configured:
        return None
    return {
        "connected": hosts.connected,
        "up": sorted(hosts.here),
        "lost": sorted(hosts.lost),
        "budget": _budget(core),
    }


def _budget(core: Supervisor) -> Document | None:
    if core.hosts.budget_micros is None:
        return None
    found = fleet_budget.standing(core.hosts, core.agents.values(), core.periods)
    known = {} if found is None else fleet_budget.figures(found)
    return {
        "usd_per_day": core.hosts.budget_micros / 1e6,
        "exceeded": core.hosts.over_budget,
        # While cut off, `limit` is this host's share; nothing is known right after a start.
        **{name: known.get(name) for name in ("limit", "used", "own", "others", "hosts")},
    }
