"""When operators are told that an alert is tried next. All times are made up."""

from agentd.daemon.alertplan import MINUTE_MS
from agentd.daemon.alertprospects import AFTER_OLDER, WITH_DIGEST, Prospect, prospects
from tests.daemon.alert_samples import waiting

NOW = 1_000_000


def test_the_next_try_lies_in_the_future_or_is_not_known() -> None:
    tried = waiting("a", "i1", due_ms=NOW + 700, attempts=2)
    behind = waiting("a", "i2", due_ms=NOW - 9_000)
    sent = waiting("b", "i3", due_ms=NOW - 9_000)
    gathers = waiting("c", "i4", due_ms=NOW + 500)
    due = waiting("d", "i5", due_ms=NOW - 1)
    found = prospects([tried, behind, sent, gathers, due], {sent.uid}, None, NOW)
    assert list(found.values()) == [
        Prospect(NOW + 700),
        Prospect(why=AFTER_OLDER),
        Prospect(),
        Prospect(NOW + 500),
        Prospect(),
    ]


def test_what_a_digest_holds_back_is_tried_with_the_digest() -> None:
    held, report = waiting("a", due_ms=NOW - 9_000), waiting(None, kind="digest", due_ms=NOW)
    found = prospects([held, report], (), NOW - 20_000, NOW)
    assert found[held.uid] == Prospect(NOW - 20_000 + MINUTE_MS, WITH_DIGEST)
    assert found[report.uid] == Prospect()
    assert prospects([held], (), NOW - MINUTE_MS, NOW)[held.uid] == Prospect()
