import pytest

from agentd.daemon.rates import UNLIMITED, Bucket
from agentd.daemon.replays import ANSWERS_MAX, KEPT_MS, Replays, Verdict, digest_of
from agentd.wire.commands import Command

KILL = Command("7", "kill", {"select": ["a"], "reason": "x"})


def test_the_same_from_the_same_user_is_told_again() -> None:
    replays, told = Replays(), []
    assert replays.begin(0, KILL, told.append, 0) is Verdict.RUN
    replays.finish(0, "7", b"done")
    assert replays.begin(0, KILL, told.append, KEPT_MS - 1) is Verdict.TOLD
    assert told == [b"done"]


@pytest.mark.parametrize(
    ("uid", "command", "now_ms", "verdict"),
    [
        (0, Command("7", "kill", {"reason": "x", "select": ["a"]}), 0, Verdict.TOLD),  # same words
        (0, Command("7", "kill", {"select": ["b"]}), 0, Verdict.CONFLICT),
        (0, Command("7", "stop", KILL.args), 0, Verdict.CONFLICT),
        (1, KILL, 0, Verdict.RUN),  # another user's id is another id
        (0, Command(7, "kill", KILL.args), 0, Verdict.RUN),
        (0, Command("8", "kill", KILL.args), 0, Verdict.RUN),
        (0, KILL, KEPT_MS - 1, Verdict.TOLD),
        (0, KILL, KEPT_MS, Verdict.RUN),
    ],
)
def test_what_counts_as_the_same(uid: int, command: Command, now_ms: int, verdict: Verdict) -> None:
    replays = Replays()
    replays.begin(0, KILL, print, 0)
    assert replays.begin(uid, command, print, now_ms) is verdict


def test_a_repetition_waits_for_the_answer() -> None:
    replays, told = Replays(), []
    replays.begin(0, KILL, told.append, 0)
    assert replays.begin(0, KILL, told.append, 1) is Verdict.TOLD
    assert told == []
    replays.finish(0, "7", b"done")
    replays.finish(0, "7", b"done twice")
    assert told == [b"done"]


def test_without_an_id_nothing_is_kept() -> None:
    replays = Replays()
    command = Command(None, "kill", {})
    assert replays.begin(0, command, print, 0) is Verdict.RUN
    assert replays.begin(0, command, print, 0) is Verdict.RUN
    replays.finish(0, None, b"done")
    assert len(replays) == 0


def test_answers_of_an_earlier_daemon_are_given_again() -> None:
    replays, told = Replays(), []
    replays.preload(0, "7", digest_of(KILL), b"done before", 0)
    assert replays.begin(0, KILL, told.append, 1) is Verdict.TOLD
    assert told == [b"done before"]


def test_the_memory_is_bounded_and_the_oldest_goes_first() -> None:
    replays = Replays()
    for number in range(ANSWERS_MAX + 10):
        replays.begin(0, Command(number, "kill", {}), print, 0)
    assert len(replays) == ANSWERS_MAX
    assert replays.begin(0, Command(0, "stop", {}), print, 0) is Verdict.RUN
    assert replays.begin(0, Command(ANSWERS_MAX, "stop", {}), print, 0) is Verdict.CONFLICT


def test_a_bucket_starts_full_and_refills_at_its_rate() -> None:
    bucket = Bucket(200, 400)
    assert bucket.allowed(0) == 400
    bucket.take(400)
    assert bucket.allowed(0) == 0
    assert bucket.allowed(4) == 0
    assert bucket.allowed(5) == 1
    assert bucket.allowed(60_000) == 400


def test_what_may_wait_takes_in_advance() -> None:
    bucket = Bucket(100, 1)
    bucket.allowed(0)
    bucket.take()
    assert [bucket.take_in_advance() for _ in range(3)] == [10, 20, 30]
    assert bucket.allowed(30) == 0
    assert bucket.allowed(40) == 1


def test_rate_zero_is_no_limit() -> None:
    bucket = Bucket(0, 0)
    bucket.take(10**9)
    assert bucket.allowed(0) == UNLIMITED
