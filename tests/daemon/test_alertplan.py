"""What a sink is sent next: order, company, storms, patience. All times are made up."""

import random

import pytest

from agentd.daemon.alertplan import (
    BACKOFF_MS_MAX,
    FOLDED_MAX,
    GATHER_MS,
    GATHER_MS_MAX,
    GIVE_UP_MS,
    MINUTE_MS,
    Plan,
    Rules,
    Traffic,
    Waiting,
    backoff_ms,
    is_too_old,
    plan,
)
from tests.daemon.alert_samples import waiting

NOW = 1_000_000
RULES = Rules(digest_after=5)
APART = Rules(digest_after=5, apart=True)


def planned(
    alerts: list[Waiting],
    rules: Rules = RULES,
    *,
    busy: list[tuple[str, str]] | None = None,
    traffic: Traffic | None = None,
    now_ms: int = NOW,
) -> Plan:
    return plan(alerts, busy or [], traffic or Traffic(), rules, now_ms)


def sent(found: Plan) -> list[list[str]]:
    return [[part.uid for part in one.parts] for one in found.send]


def uids(alerts: list[Waiting]) -> list[str]:
    return [one.uid for one in alerts]


def test_nothing_waits_and_nothing_wakes() -> None:
    assert planned([]) == Plan()


def test_one_alert_is_one_message() -> None:
    one = waiting("a", "i1")
    found = planned([one])
    assert sent(found) == [[one.uid]]
    assert (found.send[0].kind, found.send[0].lead, found.wake_ms) == ("trigger", one, None)


def test_alerts_of_one_incident_are_one_message_over_all_its_agents() -> None:
    alerts = [waiting(f"agent-{number}", "i1") for number in range(50)]
    assert sent(planned(alerts)) == [uids(alerts)]


def test_a_message_holds_so_many_and_the_rest_follows_it() -> None:
    alerts = [waiting("a", "i1") for _ in range(FOLDED_MAX + 3)]
    found = planned(alerts)
    assert sent(found) == [uids(alerts[:FOLDED_MAX])]
    rest = planned(alerts[FOLDED_MAX:], busy=sorted(found.send[0].keys))
    assert rest.send == ()
    assert sent(planned(alerts[FOLDED_MAX:])) == [uids(alerts[FOLDED_MAX:])]


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        (["trigger"], "trigger"),
        (["reminder"], "reminder"),
        (["trigger", "reminder"], "trigger"),  # what nobody was told of is no reminder
        (["reminder", "resolve"], "resolve"),
        (["acknowledge", "resolve"], "resolve"),
        (["resolve", "trigger"], "trigger"),  # reopened
        (["trigger", "trigger"], "trigger"),
    ],
)
def test_a_message_says_the_last_word_of_its_incident(kinds: list[str], told: str) -> None:
    found = planned([waiting("a", "i1", kind) for kind in kinds])
    assert [one.kind for one in found.send] == [told]


def test_the_headline_is_the_worst_and_of_equals_the_first() -> None:
    alerts = [
        waiting("a", "i1", severity="warning"),
        waiting("b", "i1", severity="critical"),
        waiting("c", "i1", severity="critical"),
    ]
    assert planned(alerts).send[0].lead is alerts[1]
    told_again = waiting("a", "i1", "reminder", "critical")
    news = waiting("a", "i1", severity="warning")
    assert planned([told_again, news]).send[0].lead is news
    over = waiting("a", "i1", "resolve", "info")
    assert planned([told_again, over]).send[0].lead is over


@pytest.mark.parametrize("word", ["resolve", "acknowledge"])
def test_trouble_that_nobody_knows_of_is_told_before_its_end(word: str) -> None:
    alerts = [
        waiting("a", "i1", severity="warning"),
        waiting("a", "i1", severity="critical"),
        waiting("a", "i1", word, "info"),
    ]
    [first] = planned(alerts).send
    assert (first.kind, first.lead, uids(list(first.parts))) == (
        "trigger",
        alerts[1],
        uids(alerts[:2]),
    )
    assert planned(alerts[2:], busy=sorted(first.keys)).send == (), "once that has arrived"
    [second] = planned(alerts[2:]).send
    assert (second.kind, second.parts) == (word, (alerts[2],))


def test_trouble_that_returned_at_once_is_told_after_its_trigger_in_order() -> None:
    alerts = [waiting("a", "i1", kind) for kind in ("trigger", "resolve", "trigger", "resolve")]
    kinds = []
    while alerts:
        [message] = planned(alerts).send
        kinds.append(message.kind)
        alerts = alerts[len(message.parts) :]
    assert kinds == ["trigger", "trigger", "resolve"]


def test_a_digest_of_one_incident_hides_no_trouble_behind_its_end_either() -> None:
    alerts = [waiting("a", "i1"), waiting("a", "i1", "resolve", "info")]
    [message] = planned(alerts, traffic=Traffic([NOW - 30_000] * 5)).send
    assert (message.kind, message.storm, message.parts) == ("trigger", True, (alerts[0],))


def test_a_message_with_more_in_it_is_another_message() -> None:
    first, second = waiting("a", "i1"), waiting("a", "i1")
    assert planned([first]).send[0].newest is first
    assert planned([first, second]).send[0].newest is second


# --- order


def test_what_is_told_of_one_agent_goes_out_in_its_order() -> None:
    alerts = [waiting("a", "i1"), waiting("a", "i2"), waiting("b", "i3")]
    found = planned(alerts)
    assert sent(found) == [[alerts[0].uid], [alerts[2].uid]]
    held = planned(alerts[1:2], busy=sorted(found.send[0].keys))
    assert held == Plan()


def test_what_is_told_of_one_incident_goes_out_in_its_order() -> None:
    on_its_way = planned([waiting("a", "i1")]).send[0]
    assert planned([waiting("b", "i1", "resolve")], busy=sorted(on_its_way.keys)) == Plan()


def test_a_younger_one_waits_behind_the_next_try_of_an_older_one() -> None:
    tried = waiting("a", "i1", due_ms=NOW + 700, attempts=2)
    alerts = [tried, waiting("a", "i2"), waiting("b", "i1"), waiting("c", "i3")]
    found = planned(alerts)
    assert sent(found) == [[alerts[3].uid]]
    assert found.wake_ms == NOW + 700


def test_what_joins_a_message_never_overtakes_an_older_alert_of_its_agent() -> None:
    # b's first alert belongs to i2, which waits behind a's; b's second must not go with i1.
    alerts = [waiting("a", "i1"), waiting("a", "i2"), waiting("b", "i2"), waiting("b", "i1")]
    assert sent(planned(alerts)) == [[alerts[0].uid]]


def test_a_daily_report_waits_for_nobody_and_nobody_for_it() -> None:
    report, alert = waiting(None, kind="digest"), waiting(None)
    assert sent(planned([report, alert])) == [[report.uid], [alert.uid]]
    tried = waiting(None, kind="digest", due_ms=NOW + 1, attempts=1)
    assert sent(planned([tried, alert])) == [[alert.uid]]


@pytest.mark.parametrize("seed", range(80))
def test_order_is_kept_whatever_comes_in_whatever_order(seed: int) -> None:
    """A sink that sometimes fails, driven until all have arrived."""
    dice = random.Random(seed)  # noqa: S311 - dice, not secrets
    alerts = [
        waiting(
            dice.choice("abc"),
            f"i{dice.randrange(4)}",
            dice.choice(["trigger", "resolve"]),
            dice.choice(["warning", "critical"]),
        )
        for _ in range(dice.randrange(1, 25))
    ]
    for one in alerts:
        one.alone = dice.random() < 0.2
    rules = Rules(dice.choice([1, 3, 50]), apart=dice.random() < 0.3, free=dice.randrange(1, 5))
    _check_order(alerts, _arrivals(alerts, rules, dice))


def _arrivals(alerts: list[Waiting], rules: Rules, dice: random.Random) -> list[str]:
    """Send until nothing waits; return the ids as they arrived."""
    left, now_ms, arrived = list(alerts), NOW, []
    sent_ms: list[int] = []
    storm_ms: int | None = None
    criticals: list[tuple[int, frozenset[tuple[str, str]]]] = []
    for _ in range(2_000):
        if not left:
            return arrived
        found = planned(left, rules, traffic=Traffic(sent_ms, storm_ms, criticals), now_ms=now_ms)
        assert found.send or found.wake_ms is not None, "it would wait for ever"
        for one in dice.sample(found.send, len(found.send)):
            if dice.random() < 0.4:
                for part in one.parts:
                    part.attempts, part.due_ms = part.attempts + 1, now_ms + dice.randrange(1, 90)
                continue
            sent_ms.append(now_ms)
            criticals.append((now_ms, one.criticals))
            storm_ms = now_ms if one.storm else storm_ms
            arrived += uids(list(one.parts))
            left = [each for each in left if each.uid not in arrived]
        now_ms = max(now_ms + 1, found.wake_ms or 0)
    raise AssertionError("it has no end")


def _check_order(alerts: list[Waiting], arrived: list[str]) -> None:
    assert sorted(arrived) == sorted(uids(alerts)), "each exactly once"
    for key in {key for one in alerts for key in (one.agent_key, one.incident_key)}:
        own = [one.uid for one in alerts if key in (one.agent_key, one.incident_key)]
        assert [uid for uid in arrived if uid in own] == own, key


# --- company


def test_the_first_alert_waits_for_company_and_company_for_company() -> None:
    first = waiting("a", "i1", due_ms=NOW + GATHER_MS)
    assert planned([first]) == Plan(wake_ms=NOW + GATHER_MS)
    second = waiting("b", "i1", due_ms=NOW + 2 * GATHER_MS - 100)
    waits = planned([first, second], now_ms=NOW + GATHER_MS)
    assert waits == Plan(wake_ms=NOW + 2 * GATHER_MS - 100)
    found = planned([first, second], now_ms=NOW + 2 * GATHER_MS - 100)
    assert sent(found) == [[first.uid, second.uid]]


def test_company_that_keeps_coming_is_not_waited_for_without_end() -> None:
    alerts = [waiting("a", "i1", due_ms=NOW + GATHER_MS + late) for late in range(0, 9_000, 500)]
    latest_ms = NOW + GATHER_MS_MAX
    assert planned(alerts, now_ms=latest_ms - 1) == Plan(wake_ms=latest_ms)
    assert len(planned(alerts, now_ms=latest_ms).send) == 1


def test_a_next_try_takes_along_what_has_come_meanwhile() -> None:
    alerts = [waiting("a", "i1", attempts=3), waiting("a", "i1", due_ms=NOW + GATHER_MS)]
    assert sent(planned(alerts)) == [uids(alerts)]


def test_what_was_refused_in_company_is_sent_by_itself() -> None:
    alerts = [waiting("a", "i1", alone=True), waiting("a", "i1", alone=True), waiting("b", "i1")]
    assert sent(planned(alerts)) == [[alerts[0].uid]]


# --- storms


def test_as_many_messages_as_allowed_go_out_one_by_one() -> None:
    alerts = [waiting(f"agent-{number}") for number in range(5)]
    assert sent(planned(alerts, Rules(5, free=9))) == [[uid] for uid in uids(alerts)]


def test_k8_more_than_that_are_one_digest() -> None:
    alerts = [waiting(f"agent-{number}") for number in range(6)]
    [digest] = planned(alerts).send
    assert uids(list(digest.parts)) == uids(alerts)
    assert (digest.kind, digest.storm) == ("digest", True)


def test_a_storm_of_one_agent_is_a_digest_in_its_order() -> None:
    alerts = [waiting("a") for _ in range(20)]
    assert sent(planned(alerts)) == [uids(alerts)]


def test_what_was_sent_within_the_minute_counts() -> None:
    traffic = Traffic([NOW - 59_999] * 5)
    alone = waiting("a", "i1")
    [one] = planned([alone], traffic=traffic).send
    assert (one.storm, one.kind) == (True, "trigger")  # a digest of one is a plain message
    old = Traffic([NOW - MINUTE_MS] * 5)
    assert planned([alone], traffic=old).send[0].storm is False


def test_the_next_digest_waits_for_a_minute() -> None:
    traffic = Traffic([NOW - 30_000] * 6, storm_ms=NOW - 30_000)
    alerts = [waiting("a"), waiting("b")]
    assert planned(alerts, traffic=traffic) == Plan(wake_ms=NOW + 30_000)
    assert sent(planned(alerts, traffic=traffic, now_ms=NOW + 30_000)) != []


IN_A_STORM = Traffic([NOW - 30_000] * 6, storm_ms=NOW - 30_000)


def test_a_critical_alert_does_not_wait_for_the_digest_of_a_flapping_agent() -> None:
    flapping = [waiting("flaps") for _ in range(6)]
    critical = waiting("other", "i1", severity="critical")
    found = planned([*flapping, critical], traffic=IN_A_STORM)
    assert sent(found) == [[critical.uid]]
    assert (found.send[0].storm, found.wake_ms) == (False, NOW + 30_000)
    begins = planned([*flapping, critical])
    assert sent(begins) == [[critical.uid], uids(flapping)]
    assert [one.storm for one in begins.send] == [False, True]


def test_a_critical_alert_takes_along_what_goes_before_it() -> None:
    flapping = [waiting("flaps") for _ in range(6)]
    before = waiting("other", "i1")
    critical = waiting("other", "i2", severity="critical")
    after = waiting("other", "i3")
    found = planned([*flapping, before, critical, after], traffic=IN_A_STORM)
    assert sent(found) == [uids([before, critical])]
    assert found.send[0].lead is critical


def test_an_incident_that_keeps_being_critical_waits_for_the_digest() -> None:
    again = waiting("a", "i1", severity="critical")
    told = Traffic([NOW - 9] * 6, NOW - 9, [(NOW - 9, frozenset({again.incident_key}))])
    assert planned([again], traffic=told) == Plan(wake_ms=NOW - 9 + MINUTE_MS)
    reminder = waiting("b", "i2", "reminder", "critical")
    assert planned([reminder], traffic=IN_A_STORM).send == (), "nor is a reminder news"


def test_more_criticals_than_are_sent_one_by_one_are_a_digest() -> None:
    alerts = [waiting(f"b{number}", severity="critical") for number in range(8)]
    found = planned(alerts, Rules(5, free=9))
    assert sent(found) == [*([uid] for uid in uids(alerts[:5])), uids(alerts[5:])]
    full = [(NOW - 9, frozenset({("incident", str(number))})) for number in range(5)]
    traffic = Traffic([NOW - 9] * 10, NOW - 9, full)
    assert planned(alerts, Rules(5, free=9), traffic=traffic).send == ()


def test_a_digest_leaves_out_what_has_to_wait_for_its_agent() -> None:
    tried = waiting("a", "i0", due_ms=NOW + 500, attempts=1)
    others = [waiting(f"b{number}") for number in range(6)]
    found = planned([tried, waiting("a", "i1"), *others])
    assert sent(found) == [uids(others)]
    assert found.wake_ms == NOW + 500


def test_a_report_is_no_part_of_a_digest() -> None:
    report = waiting(None, kind="digest")
    alerts = [waiting(f"b{number}") for number in range(6)]
    assert sent(planned([report, *alerts])) == [[report.uid], uids(alerts)]


def test_a_receiver_that_keeps_incidents_gets_no_digest_and_every_change() -> None:
    alerts = [waiting(f"agent-{number}", f"i{number}") for number in range(20)]
    found = planned(alerts, Rules(5, apart=True, free=30))
    assert sent(found) == [[uid] for uid in uids(alerts)]
    story = [waiting("a", "i1"), waiting("a", "i1", "reminder"), waiting("a", "i1", "resolve")]
    first = planned(story, APART)
    assert sent(first) == [uids(story[:2])]
    assert sent(planned(story[2:], APART)) == [uids(story[2:])]


def test_no_more_is_begun_than_there_are_threads() -> None:
    alerts = [waiting(f"agent-{number}") for number in range(5)]
    assert len(planned(alerts, Rules(9, free=2)).send) == 2
    assert planned(alerts, Rules(9, free=0)).send == ()


# --- patience


def test_k8_waits_double_up_to_a_bound_and_part_of_each_is_chance() -> None:
    waits = [backoff_ms(attempts, 0.0) for attempts in range(1, 12)]
    assert waits[:4] == [2_000, 4_000, 8_000, 16_000]
    assert waits == sorted(waits)
    assert waits[-1] == BACKOFF_MS_MAX == backoff_ms(10_000, 0.0)
    assert backoff_ms(3, 1.0) == backoff_ms(3, 0.0) // 2


def test_a_week_later_it_is_given_up() -> None:
    assert not is_too_old(0, GIVE_UP_MS - 1)
    assert is_too_old(0, GIVE_UP_MS)
    assert not is_too_old(GIVE_UP_MS, 0)  # the clock was set back
