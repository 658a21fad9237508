"""The step that gave the store incidents, their evidence, alerts, and rollups.

What is written here is history, as every step is: a store in the field has taken it. A later
change of mind is a step of its own.
"""

from typing import Final

# Of these alone there is an index by time; `timeline.LIFECYCLE` must be the same words.
_LIFE: Final = (
    "event IN ('agent.started', 'agent.ready', 'agent.adopted', 'agent.exited', 'agent.stopped',"
    " 'agent.completed', 'agent.paused', 'agent.resumed', 'agent.killed', 'agent.parked',"
    " 'agent.held', 'agent.unheld', 'agent.healthy', 'agent.degraded', 'agent.unreachable',"
    " 'agent.recovered', 'agent.cooldown', 'agent.restarting', 'agent.escalated',"
    " 'agent.added', 'agent.removed', 'daemon.started', 'daemon.stopping')"
)

_EVENTS: Final = (
    "ALTER TABLE events ADD COLUMN incident INTEGER",
    "CREATE INDEX events_by_incident ON events (incident, id) WHERE incident IS NOT NULL",
    f"CREATE INDEX events_of_life ON events (wall_ms, agent) WHERE {_LIFE}",
)

_INCIDENTS: Final = (
    """CREATE TABLE incidents (
        number INTEGER PRIMARY KEY,
        record TEXT NOT NULL,
        crc INTEGER NOT NULL,
        boot_id TEXT NOT NULL,
        boottime_ms INTEGER NOT NULL,
        wall_ms INTEGER NOT NULL,
        cause TEXT NOT NULL,
        severity TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        began_wall_ms INTEGER NOT NULL,
        opened_wall_ms INTEGER NOT NULL,
        recovered_wall_ms INTEGER,
        resolved_wall_ms INTEGER,
        acknowledged_wall_ms INTEGER
    )""",
    "CREATE INDEX incidents_by_end ON incidents (resolved_wall_ms, size_bytes)",
    """CREATE TABLE incident_agents (
        agent TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (agent, number)
    ) WITHOUT ROWID""",
    "CREATE INDEX incident_agents_by_number ON incident_agents (number)",
    """CREATE TABLE evidence (
        id INTEGER PRIMARY KEY,
        incident INTEGER NOT NULL,
        agent TEXT NOT NULL,
        kind TEXT NOT NULL,
        wall_ms INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        data BLOB NOT NULL
    )""",
    "CREATE INDEX evidence_by_incident ON evidence (incident, size_bytes)",
)

_ALERTS: Final = (
    """CREATE TABLE alerts (
        id INTEGER PRIMARY KEY,
        uid TEXT NOT NULL UNIQUE,
        wall_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        severity TEXT NOT NULL,
        dedup_key TEXT NOT NULL,
        incident INTEGER,
        event_id INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        record TEXT NOT NULL
    )""",
    "CREATE INDEX alerts_by_time ON alerts (wall_ms, size_bytes)",
    """CREATE TABLE deliveries (
        alert INTEGER NOT NULL,
        sink TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        next_wall_ms INTEGER NOT NULL,
        error TEXT NOT NULL,
        PRIMARY KEY (alert, sink)
    ) WITHOUT ROWID""",
    "CREATE INDEX deliveries_by_state ON deliveries (state, alert, sink)",
    # One receiver's queue is read beside another's of any length.
    "CREATE INDEX deliveries_by_sink ON deliveries (sink, state, alert)",
)

# By span first and time next: each minute is added at one end, and folded at the other.
_ROLLUPS: Final = (
    """CREATE TABLE rollups (
        span INTEGER NOT NULL,
        begins INTEGER NOT NULL,
        agent TEXT NOT NULL,
        heartbeats INTEGER NOT NULL,
        cycles INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        cost_micros INTEGER NOT NULL,
        unpriced INTEGER NOT NULL,
        successes INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        restarts INTEGER NOT NULL,
        latency_counts BLOB,
        rss_min_bytes INTEGER,
        rss_max_bytes INTEGER,
        healthy_ms INTEGER NOT NULL,
        degraded_ms INTEGER NOT NULL,
        unreachable_ms INTEGER NOT NULL,
        unknown_ms INTEGER NOT NULL,
        down_ms INTEGER NOT NULL,
        rest_ms INTEGER NOT NULL,
        PRIMARY KEY (span, begins, agent)
    ) WITHOUT ROWID""",
)

INCIDENT_STEP: Final = (*_EVENTS, *_INCIDENTS, *_ALERTS, *_ROLLUPS)
