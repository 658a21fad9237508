"""What could not be written while the disk refused: kept in memory until it takes it again.

Of agents, incarnations, incidents, deliveries and what a fleet spent the latest row of each, of
the journal a bounded number of records with the time at which they happened and the alerts that
tell of them, of evidence and rollups a few; rollups are the first to go. Answers to commands are
not kept: whoever asked was told that they were not stored. Whoever brings alerts to people was
told that, too, and may find them in the store later all the same.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from agentd.core.effects import (
    Forget,
    Journal,
    Persist,
    PersistIncident,
    PersistSpending,
    SaveEvidence,
    SaveRollups,
)
from agentd.core.records import Record
from agentd.store.committer import Job
from agentd.store.rows import (
    AlertRow,
    DeliveryRow,
    MarkRow,
    Outcome,
    Row,
    SpawnEnded,
    SpawnIntent,
    SpawnRow,
)
from agentd.store.snapshots import Moment

RECORDS_MAX: Final = 1_000
# At most 256 KiB each.
LOOKS_MAX: Final = 32
# An hour of minutes of fifty agents, some 400 bytes each.
ROLLUPS_MAX: Final = 3_000

Late = Callable[[list[Record], Outcome], None]
Key = tuple[str, ...]


class Backlog:
    """Rows that wait for the disk."""

    def __init__(self, late: Late) -> None:
        self._late = late
        self._state: dict[Key, tuple[Row, Moment]] = {}
        self._journal: deque[tuple[tuple[Row, ...], Moment]] = deque(maxlen=RECORDS_MAX)
        self._looks: deque[tuple[Row, Moment]] = deque(maxlen=LOOKS_MAX)
        self._rollups: deque[tuple[SaveRollups, Moment]] = deque()
        self._rollups_kept = 0
        self._in_doubt: list[Job] = []
        self.dropped = 0
        """Records that were too many to keep, since the last time the disk took them."""

    def __bool__(self) -> bool:
        return bool(self._state or self._journal or self._looks or self._rollups)

    def keep(self, job: Job) -> None:
        """Take over what a failed job would have written."""
        for told in _told(job.rows):
            self.dropped += len(self._journal) == RECORDS_MAX
            self._journal.append((told, job.moment))
        for row in job.rows:
            if isinstance(row, SaveEvidence):
                self._looks.append((row, job.moment))
            elif isinstance(row, SaveRollups):
                self._keep_rollups(row, job.moment)
            elif not (isinstance(row, SpawnEnded) and self._never_began(row)):
                self._keep_state(row, job.moment)

    def _keep_state(self, row: Row, moment: Moment) -> None:
        key = _key(row)
        if key is not None:
            # Behind everything that was told before it.
            self._state.pop(key, None)
            self._state[key] = (row, moment)

    def _keep_rollups(self, row: SaveRollups, moment: Moment) -> None:
        self._rollups.append((row, moment))
        self._rollups_kept += len(row.rollups)
        while self._rollups_kept > ROLLUPS_MAX:
            self._rollups_kept -= len(self._rollups.popleft()[0].rollups)

    def _never_began(self, ended: SpawnEnded) -> bool:
        """Forget an incarnation of which nothing was ever written: its end needs no row."""
        who = (ended.agent, str(ended.incarnation))
        self._state.pop((SpawnRow.__name__, *who), None)
        return self._state.pop((SpawnIntent.__name__, *who), None) is not None

    def outdate(self, written: Job) -> None:
        """Forget what newer rows on disk have replaced meanwhile."""
        for row in written.rows:
            self._state.pop(_key(row) or (), None)

    def take(self) -> list[Job]:
        """Return it as jobs, and forget it; `keep` them again if they fail."""
        state = [Job((row,), moment) for row, moment in self._state.values()]
        journal = [self._told_late(rows, moment) for rows, moment in self._journal]
        rest = [Job((row,), moment) for row, moment in (*self._looks, *self._rollups)]
        self._state = {}
        self._rollups_kept = 0
        for each in (self._journal, self._looks, self._rollups):
            each.clear()
        # How far an alert has come can be written behind the alert only.
        late = [job for job in state if isinstance(job.rows[0], DeliveryRow)]
        state = [job for job in state if not isinstance(job.rows[0], DeliveryRow)]
        return [*state, *journal, *late, *rest]

    def suspect(self, jobs: list[Job]) -> None:
        """Keep jobs of which nobody can say yet whether they were written."""
        self._in_doubt = jobs

    def settle(self, *, written: bool) -> list[Job]:
        """The doubt is over: return the jobs if they were written after all, else keep them."""
        jobs, self._in_doubt = self._in_doubt, []
        if written:
            return jobs
        later = self.take()
        for job in jobs + later:
            self.keep(job)
        return []

    def tell_late(self, records: list[Record], outcome: Outcome) -> None:
        """Tell followers of records that became durable after their batch had failed."""
        self._late(records, outcome)

    def _told_late(self, rows: tuple[Row, ...], moment: Moment) -> Job:
        records = [row.record for row in rows if isinstance(row, Journal)]

        def done(outcome: Outcome) -> None:
            if outcome.ok and records:
                self._late(records, outcome)

        return Job(rows, moment, done)


def _told(rows: Sequence[Row]) -> list[tuple[Row, ...]]:
    """Return each record with the alerts that tell of it; an alert of none stands alone."""
    alerts = [row for row in rows if isinstance(row, AlertRow)]
    found: list[tuple[Row, ...]] = []
    for row in rows:
        if isinstance(row, Journal):
            mine = [alert for alert in alerts if alert.record == row.record]
            alerts = [alert for alert in alerts if alert not in mine]
            found.append((row, *mine))
    return found + [(alert,) for alert in alerts]


def _key(row: Row) -> Key | None:
    """Return what a row replaces; None for one that is not worth keeping."""
    match row:
        case Persist(agent=agent) | Forget(agent=agent):
            return ("agent", agent)
        case PersistSpending():
            return ("spending",)
        case PersistIncident(incident=incident):
            return ("incident", str(incident.number))
        case DeliveryRow(uid=uid, sink=sink):
            return ("delivery", uid, sink)
        case MarkRow(name=name):
            return ("mark", name)
        case SpawnIntent() | SpawnRow() | SpawnEnded():
            return (type(row).__name__, row.agent, str(row.incarnation))
        case _:
            return None
