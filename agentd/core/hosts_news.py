"""News of the other hosts: who is lost or back, what waits no longer, and what they know of us."""

from collections.abc import Sequence
from typing import Final

from agentd.config.schema import FleetConfig
from agentd.core import elsewhere, fleet_budget
from agentd.core.accounts import Periods
from agentd.core.breaker import BreakerState
from agentd.core.effects import Reply
from agentd.core.events import HostsSeen
from agentd.core.host_views import HostsView, RemoteHost
from agentd.core.hosts import wanted_by
from agentd.core.incident import host_subject, lost_host
from agentd.core.turn import CRITICAL, Turn

# More names than that make a sentence unreadable; the data has them all.
NAMES_TOLD_MAX: Final = 12
NAMES_KEPT_MAX: Final = 1_000


def configure(turn: Turn, config: FleetConfig) -> None:
    """Take over `[fleet]`; without a link, nothing that is about other hosts stays open."""
    open_before = turn.hosts.open_elsewhere
    turn.hosts.configure(config, turn.now_ms)
    if turn.hosts.configured:
        return
    elsewhere.tell(turn, open_before)
    for subject in turn.incidents.bound:
        if lost_host(subject):
            turn.incidents.look_at(subject)


def take(turn: Turn, event: HostsSeen, periods: Periods | None) -> None:
    """Go by what the link tells, and answer with what others are to know of this host."""
    wanted = wanted_by(turn.fleet.values())
    if turn.hosts.configured:  # else it was under way when the link was taken away
        _go_by(turn, event.view, wanted, periods)
    turn.do(Reply(event.request, result=_of_us(turn, wanted, periods)))


def _go_by(turn: Turn, view: HostsView, wanted: Sequence[str], periods: Periods | None) -> None:
    open_before = turn.hosts.open_elsewhere
    turn.hosts.take(view, wanted, turn.now_ms)
    if not view.connected:
        return
    _tell_back(turn)
    for host in view.hosts:
        if host.lost:
            _tell_lost(turn, host)
    elsewhere.tell(turn, open_before)
    fleet_budget.note_spending(turn, view, periods)


def _tell_lost(turn: Turn, host: RemoteHost) -> None:
    """Tell people once, if that falls to us; the open incident remembers that it was done."""
    subject = host_subject(host.name)
    if subject in turn.incidents.bound:
        turn.incidents.told[subject] = turn.now_ms
        return
    if not host.announce:
        return
    names = [agent.name for agent in host.agents]
    turn.journal(
        "host.lost",
        None,
        f"host {host.name} is lost: the fleet hears nothing of it{_agents(names)}",
        severity=CRITICAL,
        data={"host": host.name, "agents": names[:NAMES_KEPT_MAX], "next": "agentctl fleet status"},
    )


def _agents(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = len(names) - NAMES_TOLD_MAX
    told = ", ".join(names[:NAMES_TOLD_MAX]) + (f" and {more} more" if more > 0 else "")
    return f"; its agents: {told}"


def _tell_back(turn: Turn) -> None:
    """Tell of whoever was lost, by our own word, and is there again."""
    for subject in list(turn.incidents.bound):
        host = lost_host(subject)
        if host and host in turn.hosts.here:
            told = f"host {host} is back"
            turn.journal("host.back", None, told, data={"host": host}, alert=True)


def _of_us(turn: Turn, wanted: Sequence[str], periods: Periods | None) -> dict[str, object]:
    """Say what we want to know of others, and what they are to know of us."""
    budget = turn.hosts.budget_micros
    own = fleet_budget.own_micros(turn.hosts, turn.fleet.values(), periods)
    return {
        "depends_on": list(wanted),
        "spent_usd_day": {
            "date": periods.date if periods is not None else "",
            "own": round(own / 1e6, 6),
        },
        "breakers": [
            {"name": breaker.name, "state": breaker.state.value}
            for breaker in turn.breakers.known.values()
            if breaker.state is not BreakerState.CLOSED
        ],
        "budget_usd_per_day": None if budget is None else round(budget / 1e6, 6),
    }
