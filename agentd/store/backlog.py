"""What could not be written while the disk refused: kept in memory until it takes it again.

Of agents and incarnations the latest row of each, of the journal a bounded number of records
with the time at which they happened. Answers to commands are not kept: whoever asked was told
that they were not stored.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from agentd.core.effects import Forget, Journal, Persist
from agentd.core.records import Record
from agentd.store.committer import Job
from agentd.store.rows import Outcome, Row, SpawnEnded, SpawnIntent, SpawnRow
from agentd.store.snapshots import Moment

RECORDS_MAX: Final = 1_000

Late = Callable[[list[Record], Outcome], None]
Key = tuple[str, ...]


class Backlog:
    """Rows that wait for the disk."""

    def __init__(self, late: Late) -> None:
        self._late = late
        self._state: dict[Key, tuple[Row, Moment]] = {}
        self._journal: deque[tuple[Journal, Moment]] = deque(maxlen=RECORDS_MAX)
        self._in_doubt: list[Job] = []
        self.dropped = 0
        """Records that were too many to keep, since the last time the disk took them."""

    def __bool__(self) -> bool:
        return bool(self._state or self._journal)

    def keep(self, job: Job) -> None:
        """Take over what a failed job would have written."""
        for row in job.rows:
            if isinstance(row, Journal):
                self.dropped += len(self._journal) == RECORDS_MAX
                self._journal.append((row, job.moment))
                continue
            if isinstance(row, SpawnEnded) and self._never_began(row):
                continue
            key = _key(row)
            if key is not None:
                # Behind everything that was told before it.
                self._state.pop(key, None)
                self._state[key] = (row, job.moment)

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
        state, self._state = self._state, {}
        journal, self._journal = self._journal, deque(maxlen=RECORDS_MAX)
        jobs = [Job((row,), moment) for row, moment in state.values()]
        return jobs + [self._told_late(row, moment) for row, moment in journal]

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

    def _told_late(self, row: Journal, moment: Moment) -> Job:
        def done(outcome: Outcome) -> None:
            if outcome.ok:
                self._late([row.record], outcome)

        return Job((row,), moment, done)


def _key(row: Row) -> Key | None:
    """Return what a row replaces; None for one that is not worth keeping."""
    match row:
        case Persist(agent=agent) | Forget(agent=agent):
            return ("agent", agent)
        case SpawnIntent() | SpawnRow() | SpawnEnded():
            return (type(row).__name__, row.agent, str(row.incarnation))
        case _:
            return None
