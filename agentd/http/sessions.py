"""Who has shown the token: sessions of browsers, links that sign in once, failed tries.

A session is a cookie that carries its own end and a code made from the token, so that nothing
is kept here: it outlives a restart of the server, and a new token ends them all.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic, time
from typing import Final

SESSION_S: Final = 12 * 3600
"""A working day and a half of it; after that the token is asked for again."""
LINK_S: Final = 600
"""A link that signs in is for whoever has just asked for it."""
TRIES_MAX: Final = 10
"""Failed tries a minute from one address; a person needs three, a program millions."""
TRIES_WINDOW_S: Final = 60.0
ADDRESSES_MAX: Final = 1_024


class Sessions:
    """What a token lets in. Every comparison takes the same time, right or wrong."""

    def __init__(self, token: str, wall_s: Callable[[], float] = time) -> None:
        self._token = _digest(token)
        self._key = hashlib.sha256(b"agentd session\0" + token.encode()).digest()
        self._wall_s = wall_s
        self._link: tuple[bytes, float] | None = None

    def is_token(self, presented: str) -> bool:
        return hmac.compare_digest(_digest(presented), self._token)

    def issue(self) -> str:
        """Return the cookie of a new session."""
        body = f"{int(self._wall_s()) + SESSION_S}.{secrets.token_urlsafe(12)}"
        return f"{body}.{self._code('session', body)}"

    def is_session(self, cookie: str) -> bool:
        """Whether a cookie was issued under this token and has not ended."""
        body, _, code = cookie.rpartition(".")
        if not hmac.compare_digest(_digest(code), _digest(self._code("session", body))):
            return False
        return int(body.partition(".")[0]) > self._wall_s()

    def csrf_of(self, cookie: str) -> str:
        """Return what a page of this session must repeat to change anything."""
        return self._code("csrf", cookie)

    def new_link_code(self) -> str:
        """Return a code that signs in once, within ten minutes; the one before is void."""
        code = secrets.token_urlsafe(32)
        self._link = (_digest(code), self._wall_s() + LINK_S)
        return code

    def redeem(self, code: str) -> bool:
        """Whether the code signs in; it never does so again."""
        if self._link is None or not hmac.compare_digest(_digest(code), self._link[0]):
            return False
        ends_s, self._link = self._link[1], None
        return self._wall_s() < ends_s

    def _code(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()


class FailedTries:
    """Wrong tokens by address. Whoever holds a session is not asked, and so not locked out."""

    def __init__(self, clock_s: Callable[[], float] = monotonic) -> None:
        self._clock_s = clock_s
        self._tries: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, address: str) -> None:
        tries = self._tries.setdefault(address, deque(maxlen=TRIES_MAX))
        tries.append(self._clock_s())
        self._tries.move_to_end(address)
        if len(self._tries) > ADDRESSES_MAX:
            self._tries.popitem(last=False)

    def blocked_s(self, address: str) -> float:
        """Return for how many seconds nothing is taken from an address any more; 0: it is."""
        tries = self._tries.get(address)
        if tries is None or len(tries) < TRIES_MAX:
            return 0.0
        return max(0.0, tries[0] + TRIES_WINDOW_S - self._clock_s())


def _digest(text: str) -> bytes:
    # Equal lengths, and no error for what isn't ASCII.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
