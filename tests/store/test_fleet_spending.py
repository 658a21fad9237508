"""What all hosts had spent when all were last seen, kept over restarts."""

from agentd.core.effects import PersistCommon
from agentd.core.host_views import Common
from agentd.store.rows import MarkRow
from tests.store.desk import Desk

COMMON = Common(1_795_000_000_000, 4_000_000, 6_000_000, 4)


def test_nothing_is_known_of_others_at_first(desk: Desk) -> None:
    assert desk.store.common() is None


def test_the_latest_word_survives_a_restart(desk: Desk) -> None:
    assert desk.write(PersistCommon(COMMON)).ok
    later = Common(COMMON.day_begins_ms, 5_000_000, 6_000_000, 4)
    assert desk.write(PersistCommon(later)).ok
    assert desk.again().common() == later


def test_what_is_not_whole_is_not_known(desk: Desk) -> None:
    assert desk.write(MarkRow("fleet_own_micros", 7)).ok
    assert desk.store.common() is None
