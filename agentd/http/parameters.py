"""What a request says in its path, its query and its body, checked; `Refused` says what is wrong.

Nothing here is ever a pattern: an agent is named by its whole name, so that no request reaches
more agents than the one that its address shows.
"""

import asyncio
import json
from datetime import UTC, datetime
from time import time
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

from agentd.config.names import AGENT_NAME, FLEET_HOST
from agentd.config.units import parse_duration
from agentd.http.refusals import Refused, no_such_agent

BODY_BYTES_MAX: Final = 16 << 10
BODY_S: Final = 10.0
REASON_CHARS_MAX: Final = 1_000
FORM_FIELDS_MAX: Final = 8
"""Ours has one; a browser's helper may add its own."""
INTEGER_MAX: Final = (1 << 53) - 1
EVENT_TYPE_CHARS_MAX: Final = 64
TYPES_MAX: Final = 16
AGENTS_MAX: Final = 100
VERBS: Final = (
    *("start", "stop", "restart", "kill", "pause", "resume"),
    *("hold", "unhold", "reset"),
)
"""What can be done to an agent from here: no other command of the daemon is ever reached."""


def agent_name(request: Request) -> str:
    """Return the agent in the path; one that cannot be an agent's name is not found."""
    name: str = request.path_params["name"]
    if name == "all" or not AGENT_NAME.fullmatch(name):
        raise no_such_agent(name)
    return name


def verb(request: Request) -> str:
    """Return what is to be done to an agent, out of VERBS."""
    word: str = request.path_params["verb"]
    if word not in VERBS:
        raise Refused("not_found", f"nothing called {word[:40]!r} can be done to an agent")
    return word


def number(request: Request, key: str) -> int:
    """Return a whole number in the path; anything else is not found."""
    text: str = request.path_params[key]
    if not _is_integer(text):
        raise Refused("not_found", f"{key}: {text[:80]!r} is not a number")
    return int(text)


def host(request: Request) -> str:
    """Return the host that is asked for; empty: this one."""
    name = request.query_params.get("host", "")
    if name and not FLEET_HOST.fullmatch(name):
        raise Refused("bad_request", f"host: {name[:80]!r} is not a host's name")
    return name


def integer(request: Request, key: str) -> int | None:
    """Return a whole number from 0 on; None: not said."""
    text = request.query_params.get(key)
    if text is None:
        return None
    if not _is_integer(text):
        raise Refused("bad_request", f"{key}: {text[:80]!r} is not a whole number from 0 on")
    return int(text)


def flag(request: Request, key: str) -> bool | None:
    """Return a yes or no; None: not said."""
    text = request.query_params.get(key)
    if text is None:
        return None
    if text not in {"true", "false"}:
        raise Refused("bad_request", f"{key}: {text[:80]!r} is neither true nor false")
    return text == "true"


def agents(request: Request) -> list[str]:
    """Return the agents that `agent=` names, once or often."""
    names = request.query_params.getlist("agent")
    if len(names) > AGENTS_MAX:
        raise Refused("bad_request", f"agent: at most {AGENTS_MAX} of them")
    for name in names:
        if name == "all" or not AGENT_NAME.fullmatch(name):
            raise no_such_agent(name)
    return names


def event_types(request: Request) -> list[str]:
    """Return the names and globs of events that `type=` gives, once or often."""
    words = request.query_params.getlist("type")
    if len(words) > TYPES_MAX or any(len(word) > EVENT_TYPE_CHARS_MAX for word in words):
        raise Refused("bad_request", f"type: at most {TYPES_MAX} names of events")
    return words


def moment_ms(request: Request, key: str) -> int | None:
    """Return a moment in ms since 1970: given so, as ISO 8601, or as so long ago (`24h`)."""
    text = request.query_params.get(key)
    if text is None:
        return None
    if _is_integer(text):
        return int(text)
    try:
        if text[:4].isdecimal() and text[4:5] == "-":
            at = datetime.fromisoformat(text)
            found = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
        else:
            found = int(time() * 1000) - parse_duration(text)
    except (ValueError, OverflowError):
        told = f"{key}: {text[:80]!r} is neither a time nor a duration"
        raise Refused("bad_request", told, "such as 24h or 2026-11-21T08:00:00Z") from None
    return max(0, found)


def since_hours_ms(hours: int) -> int:
    """Return the moment so many hours ago."""
    return int(time() * 1000) - hours * 3_600_000


def date(text: str | None) -> str | None:
    """Return a date as the daemon takes it; None: the last whole day."""
    if text is None or text in {"today", "yesterday"}:
        return text
    try:
        return datetime.strptime(text, "%Y-%m-%d").date().isoformat()  # noqa: DTZ007 - a date
    except ValueError:
        told = f"{text[:80]!r} is not a date"
        raise Refused("bad_request", told, "such as 2026-11-20, today or yesterday") from None


async def reason(request: Request) -> str:
    """Return the reason in the body `{"reason":…}`; empty where there is no body."""
    body = await read_body(request)
    if not body:
        return ""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused("wrong_media_type", "the body is to be application/json")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Refused("bad_request", 'the body is to be an object, such as {"reason":"…"}')
    text = document.get("reason", "")
    if not isinstance(text, str) or len(text) > REASON_CHARS_MAX:
        raise Refused("bad_request", f"reason: a text of at most {REASON_CHARS_MAX} characters")
    return text.encode("utf-8", "replace").decode()


async def token(request: Request) -> str:
    """Return the token in the body of the form; empty where there is none."""
    body = await read_body(request)
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        told = f"a form of more than {FORM_FIELDS_MAX} fields"
        raise Refused("bad_request", told) from None
    return fields.get("token", [""])[0].strip()


async def read_body(request: Request) -> bytes:
    """Return a body whole, within its bounds of size and time."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    told = f"a body of more than {BODY_BYTES_MAX >> 10} KiB"
                    raise Refused("too_large", told, headers={"Connection": "close"})
    except TimeoutError:
        told = f"the body did not come within {BODY_S:.0f} s"
        raise Refused("slow", told, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Refused("bad_request", "the body broke off") from None  # nobody hears it
    return bytes(body)


def _is_integer(text: str) -> bool:
    short = text.isascii() and text.isdecimal() and len(text) <= len(str(INTEGER_MAX))
    return short and int(text) <= INTEGER_MAX
