"""Commands to other hosts: the fixed table of what may be asked, and asking it.

The subject decides the role: the server lets viewers publish on `PREFIX.HOST.cmd.view.VERB` and
operators on `PREFIX.HOST.cmd.operate.VERB` too, and the host refuses a verb under the wrong one.
"""

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from agentd.client.errors import AgentdError, NotReachable, TimedOut
from agentd.fleet.connection import Connection
from agentd.fleet.encoding import Document, Unreadable, unpack
from agentd.fleet.settings import Access, FleetSettings, host_name

REQUEST_BYTES_MAX: Final = 48 << 10
"""A daemon takes a line of 64 KiB."""
ARRIVAL_S: Final = 2.0
"""What the way there and back may take beyond the time that the daemon is given."""
_SELECT: Final = frozenset({"select"})
_WRITE: Final = frozenset({"select", "reason"})


@dataclass(frozen=True, slots=True)
class Verb:
    """A command of the daemon (CONTRACT 5.2) that may be sent from afar, and with what."""

    access: Access
    args: frozenset[str]
    changes: bool = False


def _view(*args: str) -> Verb:
    return Verb("view", frozenset(args))


def _operate(*args: str) -> Verb:
    return Verb("operate", _WRITE | frozenset(args), changes=True)


# Not here: `shutdown` and `daemon reexec`, after which nobody could be asked to undo it;
# `events` with `trace`, and whatever is followed: events are in the stream.
VERBS: Final[Mapping[str, Verb]] = {
    "ping": _view(),
    "version": _view(),
    "status": _view("select", "all", "counters"),
    "show": _view("select"),
    "events": _view("select", "types", "after", "since_ms", "limit"),
    "incidents": _view("select", "open", "id", "limit"),
    "history": _view("select", "since_ms", "since", "series", "step_s"),
    "report": _view("date"),
    "breakers": _view(),
    "daemon": _view(),
    "logs": Verb("operate", _SELECT | {"lines", "since_ms", "grep", "raw", "from"}),
    "alerts": Verb("operate", frozenset({"test"})),
    "checkpoints": Verb("operate", _SELECT | {"state", "seq"}),
    "wait": Verb("operate", _SELECT | {"for", "timeout_s"}),
    "start": _operate("fresh"),
    "stop": _operate(),
    "restart": _operate(),
    "kill": _operate(),
    "pause": _operate(),
    "resume": _operate(),
    "reset": _operate(),
    "hold": _operate(),
    "unhold": _operate(),
    "signal": _operate("signal"),
    "ack": Verb("operate", frozenset({"id", "reason"}), changes=True),
    "reload": Verb("operate", frozenset({"dry_run"}), changes=True),
}


async def request(
    connection: Connection,
    settings: FleetSettings,
    host: str,
    cmd: str,
    args: Mapping[str, Any],
    *,
    timeout_s: float = 10.0,
    request_id: str | None = None,
) -> Document:
    """Send a command to a host's daemon, and return the result that it answered with.

    Errors are as if it were the local daemon: `forbidden`, `no_such_agent`, `conflict` …;
    `NotReachable`: that host isn't there; `TimedOut`: whether a write was carried out isn't
    known. Asking again with the same `request_id` within ten minutes gets the same answer, and
    is not carried out twice.
    """
    verb = VERBS.get(cmd)
    if verb is None:
        raise AgentdError("unknown_command", f"{cmd!r} can't be sent to another host")
    document = {
        "id": request_id or os.urandom(12).hex(),
        "verb": cmd,
        "args": {key: value for key, value in args.items() if value is not None},
        "by": requester(),
        "timeout_s": timeout_s,
    }
    subject = settings.command_subject(host_name(host), verb.access, cmd)
    text = msgspec.json.encode(document)
    if len(text) > REQUEST_BYTES_MAX:
        raise AgentdError("bad_request", f"a request of {len(text)} bytes is too large")
    try:
        answer = await connection.request(subject, text, timeout_s=timeout_s + ARRIVAL_S)
    except NotReachable as error:
        if connection.closed.is_set():
            raise
        raise NotReachable(f"host {host} is not there", "agentctl fleet status") from error
    except TimedOut:
        raise TimedOut(f"no answer in time from host {host}") from None
    return _result(host, answer.data)


def requester() -> str:
    """Return who asks, as the host will write it down: a word of our own that nobody checks."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"[:120]


def _result(host: str, data: bytes) -> Document:
    try:
        document = unpack(data)
    except Unreadable as error:
        raise AgentdError("internal", f"host {host} answers with what is {error}") from None
    result = document.get("result")
    if document.get("ok") is True and isinstance(result, dict):
        return result
    failure = document.get("error")
    if not isinstance(failure, dict):
        raise AgentdError("internal", f"host {host} answers with what is no answer")
    said = {key: str(failure.get(key) or "") for key in ("code", "message", "hint")}
    raise AgentdError(said["code"], f"{host}: {said['message']}", said["hint"])
