"""What the NATS servers keep for a fleet, and making it: three buckets and one stream."""

from dataclasses import dataclass
from typing import Any, Final

from agentd.client.errors import AgentdError
from agentd.fleet import jetstream
from agentd.fleet.connection import Connection
from agentd.fleet.encoding import PACKED_BYTES_MAX
from agentd.fleet.settings import FleetSettings, host_name

_S: Final = 1_000_000_000
"""JetStream counts in nanoseconds."""
_CLAIMS_AGE_S: Final = 7 * 86_400
EVENTS_AGE_S: Final = 30 * 86_400
EVENTS_BYTES_MAX: Final = 1 << 30
_SAME_ID_S: Final = 600
"""So long the stream remembers message ids: longer than a link takes to start again."""
_MESSAGE_BYTES_MAX: Final = PACKED_BYTES_MAX + (64 << 10)


@dataclass(frozen=True, slots=True)
class Kept:
    """One stream: its name, and its configuration as JetStream takes it."""

    name: str
    config: dict[str, Any]


def needed(settings: FleetSettings, replicas: int = 1) -> list[Kept]:
    """Return all that a fleet needs; `replicas` is how many servers of a cluster keep each."""
    return [
        _bucket(settings.status_bucket, replicas, age_ms=settings.ttl_ms),
        _bucket(settings.hosts_bucket, replicas),
        _bucket(settings.claims_bucket, replicas, age_ms=_CLAIMS_AGE_S * 1000),
        Kept(
            settings.events_stream,
            {
                "name": settings.events_stream,
                "subjects": [settings.event_subject("*")],
                "storage": "file",
                "retention": "limits",
                "discard": "old",
                "max_age": EVENTS_AGE_S * _S,
                "max_bytes": EVENTS_BYTES_MAX,
                "max_msg_size": _MESSAGE_BYTES_MAX,
                "duplicate_window": _SAME_ID_S * _S,
                "allow_direct": False,
                "num_replicas": replicas,
            },
        ),
    ]


async def ensure(connection: Connection, settings: FleetSettings, replicas: int = 1) -> list[str]:
    """Make what isn't there, and return the names of what was made.

    What is there stays as it is, but for the status bucket whose TTL is another: it is a matter
    of seconds, and is changed. `forbidden`: it isn't there, and we may not make it.
    """
    made = []
    for kept in needed(settings, replicas):
        try:
            found = (await jetstream.info(connection, kept.name))["config"]
        except AgentdError as error:
            if error.code != jetstream.NOT_FOUND:
                raise
            await _make(connection, "CREATE", kept)
            made.append(kept.name)
            continue
        if kept.name == settings.status_stream and found["max_age"] != kept.config["max_age"]:
            await _make(connection, "UPDATE", kept)
            made.append(kept.name)
    return made


async def forget(connection: Connection, settings: FleetSettings, host: str) -> bool:
    """Have nobody miss a host that is gone for good; return whether it was known.

    One that is up makes itself known again with its next connection.
    """
    subject = settings.roster_subject(host_name(host))
    purged = await jetstream.api(
        connection, f"STREAM.PURGE.{settings.hosts_stream}", {"filter": subject}
    )
    return bool(purged.get("purged"))


async def _make(connection: Connection, verb: str, kept: Kept) -> None:
    try:
        await jetstream.api(connection, f"STREAM.{verb}.{kept.name}", kept.config)
    except AgentdError as error:
        if error.code != "forbidden":
            raise
        raise AgentdError(
            "forbidden",
            f"the fleet's store {kept.name} isn't set up, and these credentials may not do it",
            "once, as an operator: python -m agentd.fleet --config FILE --create",
        ) from None


def _bucket(name: str, replicas: int, *, age_ms: int = 0) -> Kept:
    """Return a stream as NATS's own tools take it for a key-value bucket.

    On disk, the short-lived too: a server that starts again has forgotten a stream in memory, and
    hosts may not make one.
    """
    age_ns = age_ms * (_S // 1000)
    return Kept(
        f"KV_{name}",
        {
            "name": f"KV_{name}",
            "subjects": [f"$KV.{name}.>"],
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "max_age": age_ns,
            "max_msg_size": _MESSAGE_BYTES_MAX,
            "duplicate_window": min(age_ns, 120 * _S) or 120 * _S,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": False,
            "num_replicas": replicas,
        },
    )
