"""What a starting daemon reads of the one before it, beside the agents; it starts without, too."""

import sqlite3

from agentd.core.host_views import FleetSpending
from agentd.core.records import Baseline, IncidentRecord
from agentd.daemon.clock import wall_ms
from agentd.daemon.log import log
from agentd.store.store import Store


def incidents(store: Store) -> tuple[list[IncidentRecord], int]:
    """Return those that are open or were lately, in time of this boot, and the next number.

    Where that can't be read, the clock gives a number that no incident ever had: a known one
    would be written over.
    """
    try:
        known = [*store.resolved_lately(), *store.open_incidents()]
        return known, store.last_incident() + 1
    except sqlite3.Error as error:
        log.error("incidents.unread", error=error)
        return [], wall_ms() // 1000


def baselines(store: Store) -> dict[str, Baseline]:
    """Return what the work of each agent usually costs, as far as it was written down."""
    try:
        return store.baselines()
    except sqlite3.Error as error:  # they are learnt anew
        log.warning("baselines.unread", error=error)
        return {}


def spending(store: Store) -> FleetSpending | None:
    """Return what all hosts had spent when all were last seen; None: that isn't known."""
    try:
        return store.fleet_spending()
    except sqlite3.Error as error:  # the others tell it again, unless this host is cut off
        log.warning("fleet.unread", error=error)
        return None
