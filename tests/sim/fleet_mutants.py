# ruff: noqa: ANN401 - a wrapper takes whatever the function under it takes
"""Bugs planted in what is made of other hosts; see mutants.py, which lists all of them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from agentd.core import budgets, elsewhere, fleet_budget, hosts_news
from agentd.core.breaker import BreakerState
from agentd.core.hosts import Hosts
from agentd.core.states import StopReason

Wrap = Callable[[Any], Any]


def _never(_function: Any) -> Any:
    return lambda *_args, **_kwargs: False


def _nothing(_function: Any) -> Any:
    return lambda *_args, **_kwargs: None


def _tells_anew(tell_lost: Any) -> Any:
    """Nobody remembers that it was told."""

    def wrapped(turn: Any, host: Any) -> None:
        before = turn.incidents.causes.bound
        turn.incidents.causes.bound = {}
        tell_lost(turn, replace(host, announce=host.announce))
        turn.incidents.causes.bound = before | turn.incidents.causes.bound

    return wrapped


def _tells_all(tell_lost: Any) -> Any:
    """Each host tells of it."""
    return lambda turn, host: tell_lost(turn, replace(host, announce=True))


def _all_to_itself(standing: Any) -> Any:
    """Cut off, it spends what all may spend."""

    def wrapped(hosts: Any, agents: Any, periods: Any) -> Any:
        connected, hosts.connected = hosts.connected, hosts.connected is not None or None
        found = standing(hosts, agents, periods)
        hosts.connected = connected
        return found

    return wrapped


def _begins_blank(begin: Any) -> Any:
    return lambda self, _spending, now_ms: begin(self, None, now_ms)


def _deaf_to_gaps(_shift: Any) -> Any:
    return lambda *_: None


def _opens_here(tell: Any) -> Any:
    """What fails elsewhere isn't called here."""

    def wrapped(turn: Any, before: Any) -> None:
        tell(turn, before)
        for name in turn.hosts.open_elsewhere:
            breaker = turn.breakers.known.get(name)
            if breaker is not None and breaker.state is BreakerState.CLOSED:
                breaker.state, breaker.opened_at_ms = BreakerState.OPEN, turn.now_ms

    return wrapped


def _forgets_words(relent: Any) -> Any:
    """A word over the budget holds for as long as there is no room."""

    def wrapped(turn: Any, *, warned: bool) -> None:
        relent(turn, warned=warned)
        for agent in turn.fleet.values():
            names = agent.durable.budgets_overridden
            agent.durable.budgets_overridden = tuple(n for n in names if n != budgets.FLEET_BUDGET)

    return wrapped


def _stops_dependants(take: Any) -> Any:
    """An outage elsewhere ends those who depend on it."""

    def wrapped(turn: Any, event: Any, periods: Any) -> None:
        take(turn, event, periods)
        for agent in turn.fleet.values():
            if agent.has_process and turn.hosts.outages(agent):
                turn.leaving[agent.name] = (StopReason.DEPENDENCY_DOWN, "elsewhere")

    return wrapped


FLEET_MUTANTS: Mapping[str, tuple[tuple[object, str, Wrap], ...]] = {
    "nobody elsewhere is waited for": ((Hosts, "holds_back", _never),),
    "waiting for others never ends": ((Hosts, "give_up", _never),),
    "time that the daemon stood still is waited for others": ((Hosts, "shift", _deaf_to_gaps),),
    "a lost host is told again and again": ((hosts_news, "_tell_lost", _tells_anew),),
    "each host tells of a lost one": ((hosts_news, "_tell_lost", _tells_all),),
    "a host that is back is nobody's news": ((hosts_news, "_tell_back", _nothing),),
    "the fleet's budget pauses nobody": ((fleet_budget, "_exceeded", _nothing),),
    "room that comes and goes ends a person's word": ((fleet_budget, "_relent", _forgets_words),),
    "an agent that is removed takes along what it spent": ((fleet_budget, "carry", _nothing),),
    "cut off, a host spends what all may spend": ((fleet_budget, "standing", _all_to_itself),),
    "a person's word over the fleet's budget is not heard": ((budgets, "_is_over_fleet", _never),),
    "a new daemon doesn't know what all have spent": ((Hosts, "begin", _begins_blank),),
    "a breaker elsewhere opens the one here": ((elsewhere, "tell", _opens_here),),
    "an outage elsewhere stops who depends on it": ((hosts_news, "take", _stops_dependants),),
}
