"""What an answer means for the next attempt."""

import email.utils
import time

import pytest

from agentd.sinks.http import Http
from agentd.sinks.message import DeliveryFailed
from agentd.sinks.posting import RETRY_AFTER_S_MAX, SLOW_RETRY_S, post
from tests.sinks.receiver import Mood, Receiver
from tests.sinks.samples import CANARY


def refused(url: str) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as raised:
        post(Http(), url, b"{}", {})
    return raised.value


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_delivery(receiver: Receiver, status: int) -> None:
    receiver.status = status
    post(Http(), receiver.url, b"{}", {})
    assert receiver.received[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "retry_after_s", "permanent"),
    [
        (500, None, False),
        (503, None, False),
        (429, None, False),
        (408, None, False),
        (425, None, False),
        (400, SLOW_RETRY_S, False),  # of PagerDuty also: a wrong key, which can be put right
        (401, SLOW_RETRY_S, False),
        (403, SLOW_RETRY_S, False),
        (404, SLOW_RETRY_S, False),
        (410, SLOW_RETRY_S, False),
        (413, SLOW_RETRY_S, True),  # it will never be smaller
    ],
)
def test_when_to_try_again(
    receiver: Receiver, status: int, retry_after_s: float | None, permanent: bool
) -> None:
    receiver.mood, receiver.error_status = Mood.ERROR, status
    failed = refused(receiver.url)
    assert (failed.retry_after_s, failed.permanent) == (retry_after_s, permanent)
    assert str(failed) == f"it answered {status}: no"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("86400", RETRY_AFTER_S_MAX),
        ("9" * 400, RETRY_AFTER_S_MAX),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_receiver_says_when(
    receiver: Receiver, status: int, value: str, expected: float | None
) -> None:
    receiver.mood, receiver.error_status = Mood.ERROR, status
    receiver.headers = {"Retry-After": value}
    assert refused(receiver.url).retry_after_s == expected


def test_the_receiver_says_when_by_a_date(receiver: Receiver) -> None:
    receiver.mood = Mood.ERROR
    receiver.headers = {"Retry-After": email.utils.formatdate(time.time() + 600, usegmt=True)}
    retry_after_s = refused(receiver.url).retry_after_s
    assert retry_after_s is not None
    assert 300 < retry_after_s <= 601


def test_a_redirect_is_told_with_what_to_do(receiver: Receiver) -> None:
    with Receiver() as elsewhere:
        receiver.mood, receiver.redirect_to = Mood.REDIRECT, elsewhere.at(f"/{CANARY}")
        failed = refused(receiver.url)
        assert elsewhere.received == []
    assert "a redirect, which is not followed" in str(failed)
    assert CANARY not in str(failed)
    assert failed.retry_after_s == SLOW_RETRY_S


def test_plain_http_leaves_this_machine_for_nobody() -> None:
    failed = refused(f"http://192.0.2.1/{CANARY}")
    assert "use https://" in str(failed)
    assert CANARY not in str(failed)
