"""Who sends a request, and whether it may change anything."""

import hmac
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from starlette.requests import Request

from agentd.http.refusals import Refused
from agentd.http.sessions import SESSION_S, FailedTries, Sessions
from agentd.http.settings import TOKEN_CHARS_STRONG, Settings

COOKIE: Final = "agentd_token"
CSRF_HEADER: Final = "x-agentd-csrf"
CREDENTIAL_CHARS_MAX: Final = 4096
SIGN_IN_HINT: Final = "send it as `Authorization: Bearer TOKEN`, or sign in at /"

Role = Literal["viewer", "operator"]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever sends a request; `cookie` is empty where none was needed."""

    role: Role
    by: Literal["nobody", "bearer", "cookie"]
    csrf: str = ""

    @property
    def operates(self) -> bool:
        return self.role == "operator"


class Access:
    """Judges requests by what they carry. Where there is no token, everybody is a viewer."""

    def __init__(self, settings: Settings) -> None:
        self.sessions = Sessions(settings.token)
        self._has_token = bool(settings.token)
        self._role: Role = "operator" if settings.operate else "viewer"
        self._failed = FailedTries()
        self._is_beyond_guessing = len(settings.token) >= TOKEN_CHARS_STRONG

    def visitor(self, request: Request) -> Visitor:
        """Return who it is; `Refused` without a good token."""
        if not self._has_token:
            return Visitor("viewer", "nobody")
        presented = _bearer(request)
        if presented is not None:
            self._check(presented, request)
            return Visitor(self._role, "bearer")
        cookie = request.cookies.get(cookie_name(request), "")[:CREDENTIAL_CHARS_MAX]
        if cookie and self.sessions.is_session(cookie):
            return Visitor(self._role, "cookie", self.sessions.csrf_of(cookie))
        raise _unauthorized("a token is needed here" if not cookie else "the session has ended")

    def check_sign_in(self, request: Request) -> None:
        """Raise `Refused` for a form that is of no use, whatever it holds."""
        check_origin(request, required=True)
        if not self._is_beyond_guessing:
            self._check_tries(request)

    def sign_in(self, presented: str, request: Request) -> str:
        """Return the cookie of a new session for whoever knows the token."""
        self.check_sign_in(request)
        self._check(presented, request)
        return self.sessions.issue()

    def follow_link(self, code: str) -> str:
        """Return the cookie of a new session for the link that signs in once.

        Wrong codes aren't counted: 256 random bits can't be guessed, and any web page can have
        its reader's browser ask for such a link, which would lock out the reader.
        """
        if not self.sessions.redeem(code[:CREDENTIAL_CHARS_MAX]):
            told = "this link has been used, or is too old"
            raise Refused("unauthorized", told, "start `agentctl dashboard` again")
        return self.sessions.issue()

    def check_write(self, request: Request, visitor: Visitor) -> None:
        """Raise `Refused` unless this visitor may change things, and means to.

        A browser sends cookies along with whatever any page asks of it. So a cookie alone is
        not enough: the header can be set, and its value known, by our own pages only.
        """
        if visitor.by == "nobody":
            raise Refused(
                "forbidden", "nothing can be changed without a token", "set http.token_file"
            )
        check_origin(request, required=visitor.by == "cookie")
        if visitor.by == "cookie":
            sent = request.headers.get(CSRF_HEADER, "")
            if not same(sent, visitor.csrf):
                told = f"the header {CSRF_HEADER} is missing or not this session's"
                raise Refused("forbidden", told, "reload the page")
        if not visitor.operates:
            raise Refused("forbidden", "this server only shows", "set http.operate = true")

    def _check(self, presented: str, request: Request) -> None:
        # First, so that nobody is locked out by the wrong ones of others. Everybody may try
        # without end then, which is why only a token counts that is never found like that.
        if self._is_beyond_guessing and self.sessions.is_token(presented):
            return
        self._check_tries(request)
        if not self.sessions.is_token(presented):
            self._failed.add(_address(request))
            raise _unauthorized("the token is not the right one")

    def _check_tries(self, request: Request) -> None:
        blocked_s = self._failed.blocked_s(_address(request))
        if blocked_s:
            wait_s = str(int(blocked_s) + 1)
            told = "too many wrong tokens from this address"
            raise Refused("too_many_tries", told, f"wait {wait_s} seconds", {"Retry-After": wait_s})


def same(left: str, right: str) -> bool:
    """Compare in a time that tells nothing; an empty one is never the same."""
    return bool(right) and hmac.compare_digest(left.encode(), right.encode())


def cookie_name(request: Request) -> str:
    """Return the cookie's name; by port, for browsers share cookies between ports of a host."""
    port = request.headers.get("host", "").rpartition("]")[2].rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isdecimal() else COOKIE


def cookie_header(request: Request, value: str) -> str:
    """Return a Set-Cookie header that begins a session."""
    secure = "; Secure" if request.url.scheme == "https" else ""
    return (
        f"{cookie_name(request)}={value}; Path=/; Max-Age={SESSION_S}; HttpOnly; "
        f"SameSite=Strict{secure}"
    )


def check_origin(request: Request, *, required: bool) -> None:
    """Raise `Refused` if another site's page has sent this.

    A browser names the page's site in `Origin` wherever something could be changed; "null"
    stands for one that it will not name.
    """
    origin = request.headers.get("origin")
    if origin is None:
        if required:
            raise Refused("forbidden", "no Origin was sent with a cookie")
        return
    try:
        sent = urlsplit(origin)
    except ValueError:
        sent = urlsplit("")
    host = request.headers.get("host", "")
    if not host or sent.netloc.lower() != host.lower() or sent.scheme not in {"http", "https"}:
        raise Refused("forbidden", "this came from a page of another site")


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip()[:CREDENTIAL_CHARS_MAX] if scheme.lower() == "bearer" else None


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _unauthorized(message: str) -> Refused:
    return Refused(
        "unauthorized", message, SIGN_IN_HINT, {"WWW-Authenticate": 'Bearer realm="agentd"'}
    )
