"""The thread that writes. The event loop hands over batches and is called back, in order.

Group commit without a delay: whatever is queued when a transaction is done makes up the next
one, so that a quiet store answers after one fsync and a busy one shares each fsync. Counters
(lazy snapshots) wait for company, half a second at most. Nothing here raises into the loop: a
disk that refuses is an outcome, and a message to whoever looks after health.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from agentd.core.effects import Forget, Journal, Persist, PersistIncident, PersistSpending
from agentd.core.host_views import FleetSpending
from agentd.core.records import IncidentRecord
from agentd.core.states import Intent
from agentd.store.backlog import Backlog
from agentd.store.ballast import Ballast
from agentd.store.committer import FAILURES, Committer, Job
from agentd.store.connection import told
from agentd.store.retention import Bounds
from agentd.store.rows import Batch, Outcome, RequestRow, Row, SpawnEnded, SpawnRow
from agentd.store.snapshots import Moment

QUEUE_MAX: Final = 8_192
GROUP_MAX: Final = 1_024

# Counters come from the core every four seconds, and are durable within five, commit included.
LAZY_MS: Final = 500
RETRY_MS: Final = 1_000
TIDY_MS: Final = 60_000
TIDY_MORE_MS: Final = 200
FOLD_MS: Final = 2_000
FOLD_ROWS: Final = 200

Post = Callable[[Callable[[], None]], object]
Done = Callable[[Outcome], None]
OnHealth = Callable[[bool, str], None]


class Writer:
    """A queue, a thread, and the latest snapshot of each agent."""

    def __init__(
        self,
        committer: Committer,
        ballast: Ballast,
        backlog: Backlog,
        *,
        bounds: Bounds,
        clock: Callable[[], Moment],
        post: Post,
        on_health: OnHealth,
    ) -> None:
        self._committer = committer
        self._ballast = ballast
        self._backlog = backlog
        self._clock = clock
        self._post = post
        self._on_health = on_health
        self.bounds = bounds
        self.trouble = ""
        """Why the store does not work; empty while it does."""
        self._queue: deque[tuple[Batch, Done, Moment]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._lazy: dict[str, Persist] = {}
        self._latest: dict[str, Persist] = {}
        self._spawned: dict[str, SpawnRow] = {}
        self._incidents: dict[int, PersistIncident] = {}
        """Those that are open."""
        self._spending: PersistSpending | None = None
        """What all hosts had spent; None: that isn't known."""
        self._lazy_due_ms: int | None = None
        self._tidy_due_ms = _now_ms() + TIDY_MS
        self._fold_due_ms: int | None = None
        self._rows_since_fold = 0
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    def begin_without(self, trouble: str) -> None:
        """Begin with a disk that takes nothing, and find out when it does; before `start` only."""
        self.trouble = trouble

    def remember(
        self,
        agents: dict[str, Persist],
        spawned: dict[str, SpawnRow],
        incidents: Iterable[IncidentRecord] = (),
        spending: FleetSpending | None = None,
    ) -> None:
        """What the store held when it was opened; before `start` only."""
        self._latest.update(agents)
        self._spawned.update(spawned)
        self._incidents.update((each.number, PersistIncident(each)) for each in incidents)
        self._spending = None if spending is None else PersistSpending(spending)

    def remembered(self) -> list[Row]:
        """What a new store begins with when the old one turned out to be damaged."""
        spending = [] if self._spending is None else [self._spending]
        incidents = self._incidents.values()
        return [*self._latest.values(), *self._spawned.values(), *incidents, *spending]

    def start(self) -> None:
        self._thread.start()

    def submit(self, batch: Batch, done: Done) -> None:
        """Queue a batch. `done` is posted once it is durable, or failed; never called from here.

        A batch of lazy snapshots alone is answered before they are written: nothing waits for
        them. With too many waiting the batch fails, and only its snapshots are kept.
        """
        moment = self._clock()
        with self._wake:
            if len(self._queue) < QUEUE_MAX and not self._closing:
                self._queue.append((batch, done, moment))
                self._wake.notify()
                return
            for row in batch.rows:
                if isinstance(row, Persist):
                    self._lazy[row.agent] = row
        why = "the store is closed" if self._closing else "too many writes wait for the disk"
        self._tell(done, Outcome(error=why))

    def close(self, timeout_s: float = 10.0) -> bool:
        """Write what waits, counters too, and end the thread; False if the disk was too slow."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            taken, closing = self._take()
            now_ms = _now_ms()
            if taken or closing or self._is_due():
                jobs = self._sorted(taken)
                try:
                    self._write(jobs)
                except Exception as failure:  # noqa: BLE001 - told as an outcome and as health
                    self._fail(jobs, failure)
            else:
                self._look_after(now_ms)
            if closing and not self._queue:
                self._committer.close()
                return

    def _take(self) -> tuple[list[tuple[Batch, Done, Moment]], bool]:
        """Wait for batches or for the next thing that is due."""
        with self._wake:
            if not self._queue and not self._closing:
                self._wake.wait(self._wait_s())
            taken = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP_MAX))]
            return taken, self._closing

    def _wait_s(self) -> float:
        """Until something is due; while the disk refuses, until the next try, whatever waits."""
        if self.trouble or self._ballast.spent or self._backlog:
            return RETRY_MS / 1000
        due = [self._tidy_due_ms, self._lazy_due_ms, self._fold_due_ms]
        return max(0, min(one for one in due if one is not None) - _now_ms()) / 1000

    def _is_due(self) -> bool:
        return self._lazy_is_due() or bool(self.trouble) or bool(self._backlog)

    def _look_after(self, now_ms: int) -> None:
        """Housekeeping, while nobody waits."""
        if self._fold_due_ms is not None and now_ms >= self._fold_due_ms:
            self._fold_due_ms, self._rows_since_fold = None, 0
            self._committer.fold()
        elif now_ms >= self._tidy_due_ms:
            more = self._committer.tidy(self.bounds, self._clock().wall_ms)
            self._tidy_due_ms = now_ms + (TIDY_MORE_MS if more else TIDY_MS)

    def _sorted(self, taken: list[tuple[Batch, Done, Moment]]) -> list[Job]:
        """Make jobs of batches: counters aside, and what a reserve can't hold refused."""
        self._mind_reserve()
        jobs: list[Job] = []
        for batch, done, moment in taken:
            urgent = batch.urgent or any(self._is_urgent(row) for row in batch.rows)
            job = Job(tuple(row for row in batch.rows if not self._note(row)), moment, done)
            if self._ballast.spent and not urgent and job.rows:
                job.error = "disk full; what is left is kept for operators' commands"
            jobs.append(job)
        return jobs

    def _mind_reserve(self) -> None:
        """Take the ballast again as soon as there is room for it."""
        if self._ballast.spent and self._ballast.has_room():
            self._ballast.take()

    def _is_urgent(self, row: Row) -> bool:
        """Whether an operator's word is in it."""
        if not isinstance(row, Persist):
            return isinstance(row, RequestRow)
        before = self._latest.get(row.agent)
        was = before.durable.intent if before else Intent.UP
        return row.durable.intent is not was

    def _note(self, row: Row) -> bool:
        """Remember the latest of everything; True for a counter, which is written later."""
        if not isinstance(row, Persist):
            self._note_other(row)
            return False
        self._latest[row.agent] = row
        if not row.lazy:
            self._lazy.pop(row.agent, None)
            return False
        self._lazy[row.agent] = row
        if self._lazy_due_ms is None:
            self._lazy_due_ms = _now_ms() + LAZY_MS
        return True

    def _note_other(self, row: Row) -> None:
        match row:
            case Forget(agent=agent):
                self._latest.pop(agent, None)
                self._lazy.pop(agent, None)
            case SpawnRow(agent=agent):
                self._spawned[agent] = row
            case PersistIncident(incident=incident):
                self._incidents[incident.number] = row
                if incident.resolved_at_ms is not None:
                    del self._incidents[incident.number]
            case PersistSpending():
                self._spending = row
            case SpawnEnded(agent=agent, incarnation=incarnation):
                spawned = self._spawned.get(agent)
                if spawned is not None and spawned.incarnation == incarnation:
                    del self._spawned[agent]

    def _write(self, jobs: list[Job]) -> None:
        """Write one group: what waited for the disk, the jobs, and the counters."""
        refused = [job for job in jobs if job.error]
        settled, error = self._settle()
        reserve = self._ballast.spent
        old = [] if error or reserve else self._backlog.take()
        fresh = [job for job in jobs if job.rows and not job.error]
        if not error and not reserve and (old or fresh or self._lazy_is_due()):
            fresh.extend(self._take_lazy())
        # Without anything to write, an empty group finds out whether the disk is well again.
        if not error and (old or fresh or (self.trouble and not reserve)):
            error = self._committer.commit([*old, *fresh])
        for job in fresh:
            if job.written:
                self._backlog.outdate(job)
        self._keep_failed([*old, *fresh], refused, error)
        for job in [*settled, *old, *jobs]:
            if job.done is not None:
                self._tell(job.done, job.outcome)
        self._report(error or (refused[0].error if refused else ""))
        self._count([*old, *fresh])

    def _lazy_is_due(self) -> bool:
        due_ms = self._lazy_due_ms
        return self._closing or (due_ms is not None and _now_ms() >= due_ms)

    def _take_lazy(self) -> list[Job]:
        with self._wake:
            lazy, self._lazy = self._lazy, {}
        self._lazy_due_ms = None
        return [Job(tuple(lazy.values()), self._clock())] if lazy else []

    def _fail(self, jobs: list[Job], failure: Exception) -> None:
        """A mistake of ours in writing one group must not end the thread that writes."""
        error = f"internal error in the store: {failure!r}"
        for job in jobs:
            if job.done is not None and not job.written:
                self._tell(job.done, Outcome(error=error))
        self._report(error)

    def _settle(self) -> tuple[list[Job], str]:
        """Have a connection; return what was written against all appearances, or the error."""
        try:
            written = self._committer.settle()
        except FAILURES as failure:
            return [], told(failure)
        return [_retold(job, self._backlog) for job in self._backlog.settle(written=written)], ""

    def _keep_failed(self, group: list[Job], refused: list[Job], error: str) -> None:
        failed = [job for job in group if not job.written]
        for job in failed:
            job.error = job.error or error
        if error and self._committer.in_doubt:
            self._backlog.suspect(failed)
            failed = []
        for job in [*failed, *refused]:
            # One that is wrong in itself would be wrong again.
            if error or job in refused:
                self._backlog.keep(job)

    def _report(self, error: str) -> None:
        """Tell a change of health, once."""
        if not error and self._ballast.spent:
            error = self.trouble or "disk full; the reserve is in use"
        damage, self._committer.damage = self._committer.damage, ""
        if damage:
            self._post_quietly(lambda: self._on_health(False, f"damaged, built anew: {damage}"))
            self.trouble = self.trouble or damage
        if bool(error) != bool(self.trouble):
            self._post_quietly(lambda: self._on_health(not error, error))
        self.trouble = error

    def _count(self, group: list[Job]) -> None:
        self._rows_since_fold += sum(len(job.rows) for job in group if job.written)
        if self._rows_since_fold >= FOLD_ROWS:
            self._fold_due_ms = _now_ms() + FOLD_MS

    def _tell(self, done: Done, outcome: Outcome) -> None:
        self._post_quietly(lambda: done(outcome))

    def _post_quietly(self, call: Callable[[], None]) -> None:
        # A loop that is closed by now has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._post(call)


def _retold(job: Job, backlog: Backlog) -> Job:
    """Its asker was told that it failed; what followers see of it comes late."""
    records = [row.record for row in job.rows if isinstance(row, Journal)]

    def done(outcome: Outcome) -> None:
        backlog.tell_late(records, outcome)

    return Job(job.rows, job.moment, done if records else None, job.stamps, written=True)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
