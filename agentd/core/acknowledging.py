"""`ack`: somebody has an incident in hand, and isn't reminded of it any more."""

from typing import Final

from agentd.core.effects import Reply
from agentd.core.events import Requested
from agentd.core.turn import Turn

CMD: Final = "ack"


def acknowledge(turn: Turn, asked: Requested) -> None:
    """Take note of it and answer; the same again changes nothing, and says so."""
    number = asked.options.get("id")
    if not isinstance(number, int) or isinstance(number, bool):
        told = "id: the number of an incident is missing"
        turn.do(Reply(asked.request, error=("bad_request", told, "agentctl incidents")))
        return
    try:
        message, news = turn.incidents.acknowledge(number, asked.who, asked.reason, turn.now_ms)
    except KeyError:
        told = f"there is no incident {number}"
        turn.do(Reply(asked.request, error=("bad_request", told, "agentctl incidents")))
        return
    turn.announce(news)
    incident = turn.incidents.known(number)
    result: dict[str, object] = {
        "id": number,
        "open": number in turn.incidents.opened,
        "acknowledged_by": (incident.acknowledged_by or None) if incident is not None else None,
        "message": message,
    }
    turn.do(Reply(asked.request, result=result))
