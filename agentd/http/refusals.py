"""What a request is refused with, and its status code."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from agentd.client.errors import AgentdError

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

STATUS_OF: Final[Mapping[str, int]] = MappingProxyType(
    {
        "bad_request": 400,
        "unauthorized": 401,
        "forbidden": 403,
        "no_such_agent": 404,
        "not_found": 404,
        "method_not_allowed": 405,
        "timeout": 504,
        "conflict": 409,
        "invalid_config": 409,
        "too_large": 413,
        "wrong_media_type": 415,
        "wrong_host": 421,
        "too_many_tries": 429,
        "head_too_large": 431,
        "slow": 408,
        "internal": 500,
        "unknown_command": 501,
        "not_reachable": 503,
        "storage_unavailable": 503,
        "too_busy": 503,
    }
)
"""Error code, of the daemon or of this server, → HTTP status."""


class Refused(Exception):  # noqa: N818 - named after what happened
    """A request that is not answered as it was meant."""

    def __init__(
        self, code: str, message: str, hint: str = "", headers: Mapping[str, str] = NOTHING
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.headers = headers

    @property
    def status(self) -> int:
        return STATUS_OF.get(self.code, 500)

    def document(self) -> dict[str, object]:
        """Return it as the API answers it."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


def no_such_agent(name: str) -> Refused:
    """Return the refusal of a request about an agent that is not there."""
    return Refused("no_such_agent", f"no agent is called {name[:80]!r}")


def refused_by_daemon(error: AgentdError) -> Refused:
    """Return what the daemon, or the way to it, refused with."""
    headers = {"Retry-After": "1"} if STATUS_OF.get(error.code) == STATUS_OF["too_busy"] else {}
    return Refused(error.code, error.message, error.hint, headers)
