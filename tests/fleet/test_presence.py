"""Who is there, by when signs of life arrive: without a clock, a process or a socket."""

from hypothesis import given
from hypothesis import strategies as st

from agentd.fleet.presence import News, Presences

TTL_MS = 10_000


def test_a_host_is_missed_after_the_ttl_and_not_before() -> None:
    presences = Presences(TTL_MS)
    assert presences.heard("a", "p", 1, 0) is News.NEW
    assert presences.missed(TTL_MS - 1) == []
    assert presences.missed(TTL_MS) == ["a"]
    presences.lose("a")
    assert presences.missed(2 * TTL_MS) == []  # it is told once
    assert presences.heard("a", "q", 1, 2 * TTL_MS) is News.BACK
    assert presences.missed(3 * TTL_MS) == ["a"]


def test_what_is_sent_again_is_no_sign_of_life() -> None:
    presences = Presences(TTL_MS)
    presences.heard("a", "p", 5, 0)
    assert presences.heard("a", "p", 5, 1) is News.REFUSED
    assert presences.heard("a", "p", 4, 1) is News.REFUSED
    assert presences.heard("a", "q", 1, 1) is News.KNOWN  # it has connected anew
    assert presences.heard("a", "p", 6, 2) is News.REFUSED  # and is that one no more
    assert presences.missed(TTL_MS + 1) == ["a"]


def test_nobody_is_missed_for_what_we_could_not_hear() -> None:
    presences = Presences(TTL_MS)
    presences.heard("a", "p", 1, 0)
    presences.expect("b", 0)
    presences.forgive(50_000)
    assert presences.missed(49_999) == []
    assert presences.missed(50_000) == ["a", "b"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50), st.integers(0, 4_000))))
def test_whoever_was_heard_within_the_ttl_is_never_missed(
    heard: list[tuple[str, int, int]],
) -> None:
    presences, now_ms, last_ms = Presences(TTL_MS), 0, dict[str, int]()
    for name, count, elapsed_ms in heard:
        now_ms += elapsed_ms
        if presences.heard(name, "p", count, now_ms) is not News.REFUSED:
            last_ms[name] = now_ms
        missed = presences.missed(now_ms)
        assert {one for one, at_ms in last_ms.items() if now_ms - at_ms >= TTL_MS} == set(missed)
