"""What all hosts had spent when all were last seen, kept over restarts."""

from agentd.core.effects import PersistSpending
from agentd.core.host_views import FleetSpending
from agentd.store.rows import MarkRow
from tests.store.desk import Desk

SPENDING = FleetSpending(1_795_000_000_000, 4_000_000, 6_000_000, 4)


def test_nothing_is_known_of_others_at_first(desk: Desk) -> None:
    assert desk.store.fleet_spending() is None


def test_the_latest_word_survives_a_restart(desk: Desk) -> None:
    assert desk.write(PersistSpending(SPENDING)).ok
    later = FleetSpending(SPENDING.day_begins_ms, 5_000_000, 6_000_000, 4)
    assert desk.write(PersistSpending(later)).ok
    assert desk.again().fleet_spending() == later


def test_what_is_not_whole_is_not_known(desk: Desk) -> None:
    assert desk.write(MarkRow("fleet_own_micros", 7)).ok
    assert desk.store.fleet_spending() is None
