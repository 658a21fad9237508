"""A message by one POST, and what the status of the answer means for the next attempt.

Every 2xx is a delivery. No other answer is final but 413: a key that is wrong today can be
right tomorrow, and then what waited has to arrive. Where trying again soon is of no use (most
of 4xx, redirects) the next attempt waits `SLOW_RETRY_S`.
"""

import time
from collections.abc import Mapping
from typing import Final

from agentd.sinks.escaping import clipped
from agentd.sinks.http import Answer, Http, Target, Unanswered
from agentd.sinks.message import DeliveryFailed

# The longest backoff: somebody has to change something first.
SLOW_RETRY_S: Final = 300.0
# A receiver that asks for a longer wait is asked again all the same.
RETRY_AFTER_S_MAX: Final = 3600.0
SAID_LENGTH_MAX: Final = 200

_TOO_LARGE: Final = 413
# Too slow, too early, too many: the same request may be taken later.
_SOON: Final = frozenset({408, 425, 429})


def post(http: Http, url: str, body: bytes, headers: Mapping[str, str], secret: str = "") -> None:
    """Deliver `body`, which is JSON; raises DeliveryFailed.

    `secret` stands in the body: an answer that quotes it is told without.
    """
    fixed = {"Content-Type": "application/json"}
    try:
        if not Target.of(url).is_private:
            told = "its URL begins with http://, which everybody on the way can read; use https://"
            raise DeliveryFailed(told, retry_after_s=SLOW_RETRY_S)
        answer = http.request(url, method="POST", body=body, headers={**fixed, **headers})
    except Unanswered as error:
        raise DeliveryFailed(str(error)) from None
    if not answer.ok:
        said = answer.said.replace(secret, "***") if secret else answer.said
        raise _refused(answer, clipped(said, SAID_LENGTH_MAX))


def _refused(answer: Answer, said: str) -> DeliveryFailed:
    status = answer.status
    if status < 400:  # noqa: PLR2004 - where HTTP's errors begin
        told = f"it answered {status}, a redirect, which is not followed; name its goal as the URL"
        return DeliveryFailed(told, retry_after_s=SLOW_RETRY_S)
    told = f"it answered {status}" + (f": {said}" if said else "")
    retry_after_s = _retry_after_s(answer.headers.get("retry-after", ""))
    hopeless = status < 500 and status not in _SOON  # noqa: PLR2004 - where its own errors begin
    if hopeless and retry_after_s is None:
        retry_after_s = SLOW_RETRY_S
    return DeliveryFailed(told, retry_after_s=retry_after_s, permanent=status == _TOO_LARGE)


def _retry_after_s(value: str) -> float | None:
    """Read a Retry-After, in seconds or as a date; None: there is none that can be read."""
    if value.isascii() and value.isdigit():
        seconds = float(value[:9])
    else:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - seldom a date, 25 ms

        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_S_MAX)
