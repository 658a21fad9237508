"""The `breakers` document (CONTRACT 6): every dependency whose calls are watched over."""

from agentd.config.encodable import utc_text
from agentd.core.breaker import Breaker, Breakers, BreakerState
from agentd.core.hosts import Hosts

Document = dict[str, object]


def breakers_document(breakers: Breakers, hosts: Hosts, now_ms: int, wall_ms: int) -> Document:
    """What `breakers --json` prints, by name; the counts are those of the running window."""
    shown = sorted(breakers.known.values(), key=lambda breaker: breaker.name)
    return {"breakers": [_breaker(breaker, hosts, now_ms, wall_ms) for breaker in shown]}


def _breaker(breaker: Breaker, hosts: Hosts, now_ms: int, wall_ms: int) -> Document:
    opened_at_ms, half_open_at_ms = breaker.opened_at_ms, breaker.half_open_at_ms()
    recent = [1 for at_ms, _ in breaker.failed if now_ms - at_ms <= breaker.config.window_ms]
    return {
        "name": breaker.name,
        "state": breaker.state.value,
        # What opened it counts until it is closed again.
        "failures": len(recent if breaker.state is BreakerState.CLOSED else breaker.failed),
        "window_s": breaker.config.window_ms / 1000,
        "opened": None if opened_at_ms is None else utc_text(wall_ms - (now_ms - opened_at_ms)),
        "retry_in_s": None if half_open_at_ms is None else max(0, half_open_at_ms - now_ms) / 1000,
        "first_attempts": breaker.retries.firsts.peek(now_ms),
        "retries": breaker.retries.retries.peek(now_ms),
        "agents": breaker.users_lately(now_ms),
        "last_error": breaker.last_error or None,
        "configured": breaker.configured,
        # Other hosts on which it isn't closed; ours goes by what our own agents report.
        "elsewhere": list(hosts.open_elsewhere.get(breaker.name, ())),
    }
