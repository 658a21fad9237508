"""Breakers of other hosts: who uses the same dependency here is warned, and nothing is opened.

What fails for another host may well answer this one; the calls made here decide that.
"""

from collections.abc import Mapping

from agentd.core.effects import Control
from agentd.core.incident import NO_OTHERS
from agentd.core.states import StopReason
from agentd.core.turn import Turn

NEXT = "agentctl breakers"


def tell(turn: Turn, before: Mapping[str, tuple[str, ...]]) -> None:
    """Tell what has changed since `before`: dependency → hosts where it isn't closed.

    Where nothing is heard of others any more, nobody is warned any longer.
    """
    now = turn.hosts.open_elsewhere
    for name in sorted(before.keys() | now.keys()):
        if (name in before) == (name in now):
            continue
        breaker = turn.breakers.known.get(name)
        users = breaker.users_lately(turn.now_ms) if breaker is not None else []
        if users:
            _tell(turn, name, now.get(name, ()), before.get(name, ()), users)


def _tell(
    turn: Turn, name: str, fails_on: tuple[str, ...], failed_on: tuple[str, ...], users: list[str]
) -> None:
    hosts = ", ".join(fails_on or failed_on)
    if fails_on:
        told = f"dependency {name!r} fails on {hosts}; it is called here as before"
    elif turn.hosts.configured:
        told = f"dependency {name!r} answers again on {hosts}"
    else:
        told = f"dependency {name!r} failed on {hosts} when that was last heard; {NO_OTHERS}"
    turn.journal(
        "breaker.opened" if fails_on else "breaker.closed",
        None,
        told,
        data={"name": name, "hosts": list(fails_on or failed_on), "agents": users, "next": NEXT},
        alert=False,
    )
    facts = {"breaker": name, "state": "open" if fails_on else "closed", "hosts": hosts}
    why = StopReason.DEPENDENCY_DOWN.value if fails_on else ""
    for user in users:
        agent = turn.fleet.get(user)
        if agent is not None and (agent.has_process or agent.config.external):
            turn.do(Control(user, agent.incarnation, "steer", why, facts))
