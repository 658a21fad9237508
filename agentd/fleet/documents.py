"""What hosts tell each other, checked as it comes in: a document is believed of its own key only.

The servers let a host write under its own name alone (contrib/nats). These checks are for the
day on which somebody forgot to configure that, and for what else may stand in a bucket.
"""

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from agentd.config.names import FLEET_HOST
from agentd.fleet.encoding import Document, Unreadable, unpack

_NAMES_MAX: Final = 4096
BREAKERS_MAX: Final = 64
"""More than a host has open at a time; each sign of life carries them."""
_USD_MAX: Final = 1e9
AgentName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}\Z")]
# As agents may call theirs on the socket. No NUL: a daemon's line would make six characters of it.
BreakerName = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00]*\Z")]
Word = Annotated[str, Meta(min_length=1, max_length=64)]


class Breaker(Struct, frozen=True):
    """A breaker of some host that isn't closed."""

    name: BreakerName
    state: Literal["open", "half_open"]


class Spent(Struct, frozen=True):
    """What a host's agents have cost in one civil day."""

    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}\Z")]
    own: Annotated[float, Meta(ge=0, le=_USD_MAX)]


class Alive(Struct, frozen=True):
    """A sign of life, and the little that all others need to know each time."""

    host: Word
    presence: Word
    count: Annotated[int, Meta(ge=1, lt=1 << 53)]
    spent: Spent | None = None
    breakers: list[Breaker] = []


class Roster(Struct, frozen=True):
    """What a host has, for the day on which it can't be asked."""

    host: Word
    presence: Word
    agents: Annotated[list[AgentName], Meta(max_length=_NAMES_MAX)] = []


class Claim(Struct, frozen=True):
    """Who announces a loss, and how far that has come."""

    host: Word
    by: Word
    told: bool = False
    """Its daemon has taken it, and will send the alert."""


Kind = TypeVar("Kind", Alive, Roster, Claim)
Carried = TypeVar("Carried", Breaker, Spent)


def key_of(subject: str) -> str:
    """Return the host that a subject of a bucket is about; `$KV.BUCKET.HOST…`."""
    parts = subject.split(".")
    return parts[2] if len(parts) > 2 else ""  # noqa: PLR2004 - as the docstring shows


def sender_of(subject: str) -> str:
    """Return the host that a subject of the fleet's own is about; `PREFIX.HOST…`."""
    parts = subject.split(".")
    return parts[1] if len(parts) > 1 else ""


def alive_of(subject: str, data: bytes) -> Alive:
    """Return a sign of life; `Unreadable` if it is none, or another host's.

    What it carries is left out where it can't be believed, each by itself: what an agent calls
    its breakers must not make a lost host of one that lives.
    """
    document = unpack(data)
    breakers = document.get("breakers")
    some = breakers[:BREAKERS_MAX] if isinstance(breakers, list) else []
    believed = [_carried(Breaker, one) for one in some]
    document["breakers"] = [one for one in believed if one is not None]
    document["spent"] = _carried(Spent, document.get("spent"))
    return _of_its_key(Alive, subject, document)


def roster_of(subject: str, data: bytes) -> Roster:
    """Return a host's roster; `Unreadable` if it is none, or another host's."""
    return _of_its_key(Roster, subject, unpack(data))


def claim_of(subject: str, data: bytes) -> Claim:
    """Return a claim; `Unreadable` if it is none, or about another host."""
    return _of_its_key(Claim, subject, unpack(data))


def status_of(subject: str, data: bytes) -> dict[str, Any]:
    """Return a host's status document (CONTRACT 6.1); `Unreadable` if it is none of its own."""
    status = unpack(data)
    _check_host(status.get("host"), key_of(subject))
    agents = status.get("agents")
    if not isinstance(agents, list) or not isinstance(status.get("summary"), dict):
        raise Unreadable("no status document")
    if not all(isinstance(agent, dict) and isinstance(agent.get("name"), str) for agent in agents):
        raise Unreadable("no status document: not a list of agents")
    return status


def event_of(subject: str, data: bytes) -> dict[str, Any]:
    """Return an event (CONTRACT 6.2); `Unreadable` if it is none, or another host's."""
    event = unpack(data)
    _check_host(event.get("host"), sender_of(subject))
    if not isinstance(event.get("id"), int) or not isinstance(event.get("event"), str):
        raise Unreadable("no event")
    return event


def _carried(kind: type[Carried], said: object) -> Carried | None:
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError:
        return None


def _of_its_key(kind: type[Kind], subject: str, said: Document) -> Kind:
    try:
        document = msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        raise Unreadable(str(error)) from None
    _check_host(document.host, key_of(subject))
    return document


def _check_host(said: object, key: str) -> None:
    if said != key:
        raise Unreadable(f"it says to be of {said!r}"[:120])
    if not FLEET_HOST.fullmatch(key):
        raise Unreadable("no host can be called so")
