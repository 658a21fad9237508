"""The store as the daemon sees it: opened and checked, written by batches, read by questions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.core.effects import Persist
from agentd.core.host_views import FleetSpending
from agentd.core.records import Baseline, IncidentRecord, Record, Rollup
from agentd.store.backlog import Backlog
from agentd.store.ballast import Ballast
from agentd.store.checkpoints import Checkpoint, Recalled
from agentd.store.committer import Committer
from agentd.store.directory import DirectoryRefused, check_directory
from agentd.store.mark import Mark
from agentd.store.opening import Opened, StoreUnavailable, open_read_only, open_store
from agentd.store.outbox import WAITING
from agentd.store.reader import Reader
from agentd.store.retention import Bounds
from agentd.store.rollups import Span
from agentd.store.rows import (
    Batch,
    Delivery,
    EvidenceRow,
    IncidentRow,
    LifeRow,
    Outcome,
    RequestRow,
    SpawnIntent,
    SpawnRow,
    StoredAgent,
)
from agentd.store.schema import NewerSchema
from agentd.store.snapshots import Moment
from agentd.store.writer import Done, OnHealth, Post, Writer

__all__ = ["Clocks", "DirectoryRefused", "NewerSchema", "Store", "StoreUnavailable"]

FILE_NAME: Final = "agentd.db"

# Commands are answered from the record for this long.
REPLAY_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks that the store reads: milliseconds of BOOTTIME, and since 1970."""

    boottime_ms: Callable[[], int]
    wall_ms: Callable[[], int]


class Store:
    """An open store. `open` blocks, and so does everything but `submit`; any thread may ask."""

    def __init__(self, reader: Reader, writer: Writer, opened: Opened, now: Moment) -> None:
        self.reader = reader
        """For questions from other threads."""
        self._writer = writer
        self._now = now
        self.rebuilt = bool(opened.damage)
        """A new store took the place of a damaged one: trust what lives over what is recorded."""
        self.damage = opened.damage
        self.quarantined = opened.quarantined
        self.salvaged = opened.salvaged
        """Agents that a rebuilt store still knows."""
        self.unavailable = opened.unavailable
        """Why nothing could be written when it was opened; what it held is known all the same."""
        self._is_blank = opened.is_blank

    @classmethod
    def open(
        cls,
        state_dir: Path,
        boot_id: str,
        *,
        host: str,
        clocks: Clocks,
        post: Post,
        on_health: OnHealth,
        on_late: Callable[[list[Record], Outcome], None],
        bounds: Bounds | None = None,
    ) -> "Store":
        """Check the directory, open the store in it, and start its writer.

        `post` hands a call to the event loop (`call_soon_threadsafe`); all callbacks come that
        way. `on_health(ok, evidence)` is told of each change, `on_late` of records that became
        durable after their batch had been answered with an error.

        Raises `DirectoryRefused`, `NewerSchema` and `StoreUnavailable`; each says which path
        and why. A damaged store is not an error: see `rebuilt`. Nor is a disk that takes no
        writes while the store can be read: see `unavailable`, and it is asked once a second.
        """
        path = _checked(state_dir) / FILE_NAME
        mark, ballast = Mark(path), Ballast(state_dir)
        opened = _open_with_room(path, mark, ballast, clocks)
        ballast.take()

        def clock() -> Moment:
            return Moment(boot_id, clocks.boottime_ms(), clocks.wall_ms())

        reader = Reader(path, host)
        writer: Writer
        committer = Committer(
            path, opened.connection, ballast, mark, clock=clock,
            remembered=lambda: writer.remembered(),  # noqa: PLW0108 - it is made right after
        )  # fmt: skip
        writer = Writer(
            committer,
            ballast,
            Backlog(on_late),
            bounds=bounds or Bounds(),
            clock=clock,
            post=post,
            on_health=on_health,
        )
        if opened.unavailable:
            writer.begin_without(opened.unavailable)
        store = cls(reader, writer, opened, clock())
        known = store.agents()
        writer.remember(
            {name: Persist(name, one.durable) for name, one in known.items()},
            store.spawns(),
            store.open_incidents(),
            store.fleet_spending(),
        )
        try:
            writer.start()
        except RuntimeError as error:  # it has touched nothing yet
            raise StoreUnavailable(f"no thread to write the store with: {error}") from error
        return store

    @property
    def health(self) -> str:
        """`ok`, or `degraded: ` and why."""
        return f"degraded: {self._writer.trouble}" if self._writer.trouble else "ok"

    @property
    def _holds_nothing(self) -> bool:
        """Whether there is still no file to read from."""
        return self._is_blank and bool(self._writer.trouble)

    def set_bounds(self, bounds: Bounds) -> None:
        """How much history is kept from now on."""
        self._writer.bounds = bounds

    def submit(self, batch: Batch, done: Done) -> None:
        """Make a batch durable, see `Writer.submit`; returns at once and never raises."""
        self._writer.submit(batch, done)

    def close(self) -> bool:
        """Write what waits and close; False if the disk did not let us within ten seconds."""
        return self._writer.close()

    def agents(self) -> dict[str, StoredAgent]:
        """Return every agent, its times carried over into this boot as of the opening."""
        return {} if self._holds_nothing else self.reader.agents(self._now)[0]

    def baselines(self) -> dict[str, Baseline]:
        """Return what each agent's work usually costs, in time of this boot as of the opening."""
        return {} if self._holds_nothing else self.reader.baselines(self._now)

    def spawns(self) -> dict[str, SpawnRow]:
        return {} if self._holds_nothing else self.reader.spawns()

    def spawn_intents(self) -> dict[str, SpawnIntent]:
        return {} if self._holds_nothing else self.reader.spawn_intents()

    def requests(self, wall_ms: int) -> list[RequestRow]:
        """Return the commands of the last ten minutes before `wall_ms`, oldest first."""
        return [] if self._holds_nothing else self.reader.requests(wall_ms - REPLAY_MS)

    def events(
        self,
        *,
        after: int | None = None,
        limit: int = 1_000,
        agents: Sequence[str] = (),
        types: Sequence[str] = (),
        since_ms: int | None = None,
        incident: int | None = None,
    ) -> list[dict[str, object]]:
        """Return a page of events, see `Reader.events`; raises sqlite3.Error."""
        return self.reader.events(
            after=after,
            limit=limit,
            agents=agents,
            types=types,
            since_ms=since_ms,
            incident=incident,
        )

    def recall(self, agent: str, execution: str) -> Recalled:
        """Return the last whole checkpoint of an execution; raises sqlite3.Error."""
        return Recalled(None) if self._holds_nothing else self.reader.recall(agent, execution)

    def checkpoints(self, agent: str, *, states: bool) -> list[Checkpoint]:
        """Return all checkpoints kept of an agent, the newest first; raises sqlite3.Error."""
        return [] if self._holds_nothing else self.reader.checkpoints(agent, states=states)

    def incidents(
        self, *, agents: Sequence[str] = (), open_only: bool = False, limit: int = 100
    ) -> list[IncidentRow]:
        """Return incidents, the newest first, see `Reader.incidents`; raises sqlite3.Error."""
        if self._holds_nothing:
            return []
        return self.reader.incidents(agents=agents, open_only=open_only, limit=limit)

    def incident(self, number: int) -> IncidentRow | None:
        """Return one incident; raises sqlite3.Error."""
        return None if self._holds_nothing else self.reader.incident(number)

    def open_incidents(self) -> list[IncidentRecord]:
        """Return what is not resolved, in time of this boot as of the opening."""
        return [] if self._holds_nothing else self.reader.open_incidents(self._now)

    def resolved_lately(self) -> list[IncidentRecord]:
        """Return what was resolved within the last day, in time of this boot as of the opening."""
        return [] if self._holds_nothing else self.reader.resolved_lately(self._now)

    def last_incident(self) -> int:
        """Return the highest number that was ever given to an incident; 0: none was."""
        return 0 if self._holds_nothing else self.reader.last_incident()

    def evidence(self, number: int) -> list[EvidenceRow]:
        """Return what was seen of an incident, oldest first; raises sqlite3.Error."""
        return [] if self._holds_nothing else self.reader.evidence(number)

    def lifecycle(
        self, *, agents: Sequence[str] = (), since_wall_ms: int, until_wall_ms: int
    ) -> list[LifeRow]:
        """Return the events that make history, see `Reader.lifecycle`; raises sqlite3.Error."""
        if self._holds_nothing:
            return []
        return self.reader.lifecycle(
            agents=agents, since_wall_ms=since_wall_ms, until_wall_ms=until_wall_ms
        )

    def life_before(self, *, agents: Sequence[str], wall_ms: int) -> list[LifeRow]:
        """Return how agents were at a moment, see `Reader.life_before`; raises sqlite3.Error."""
        if self._holds_nothing:
            return []
        return self.reader.life_before(agents=agents, wall_ms=wall_ms)

    def report_events(self, *, since_wall_ms: int, until_wall_ms: int) -> list[LifeRow]:
        """Return what the daily report reads of the journal; raises sqlite3.Error."""
        if self._holds_nothing:
            return []
        return self.reader.report_events(since_wall_ms=since_wall_ms, until_wall_ms=until_wall_ms)

    def rollups(
        self,
        *,
        agents: Sequence[str] = (),
        since_wall_ms: int,
        until_wall_ms: int,
        span: Span | int = "hour",
    ) -> list[Rollup]:
        """Return what agents did, see `Reader.rollups`; raises sqlite3.Error."""
        if self._holds_nothing:
            return []
        return self.reader.rollups(
            agents=agents, since_wall_ms=since_wall_ms, until_wall_ms=until_wall_ms, span=span
        )

    def deliveries(
        self,
        *,
        states: Sequence[str] = (WAITING,),
        sink: str | None = None,
        limit: int = 1_000,
    ) -> list[Delivery]:
        """Return alerts at one sink or all, oldest first; raises sqlite3.Error."""
        if self._holds_nothing:
            return []
        return self.reader.deliveries(states=states, sink=sink, limit=limit)

    def alert_counts(self) -> dict[str, dict[str, int]]:
        """Return how many deliveries each sink has in each state; raises sqlite3.Error."""
        return {} if self._holds_nothing else self.reader.alert_counts()

    def fleet_spending(self) -> FleetSpending | None:
        """Return what all hosts had spent when all were last seen; raises sqlite3.Error."""
        return None if self._holds_nothing else self.reader.fleet_spending()

    def mark(self, name: str) -> int | None:
        """Return a number that was kept under this name; raises sqlite3.Error."""
        return None if self._holds_nothing else self.reader.mark(name)

    def last_event_id(self) -> int:
        return self.reader.last_event_id()


def _checked(state_dir: Path) -> Path:
    """Return the directory, once it is fit to hold a store."""
    try:
        check_directory(state_dir)
    except OSError as error:
        raise StoreUnavailable(f"state directory {state_dir}: {error.strerror}") from error
    return state_dir


def _open_with_room(path: Path, mark: Mark, ballast: Ballast, clocks: Clocks) -> Opened:
    """Open it; on a full disk once more with the room of the ballast that lies there.

    A store that can be read and not be written is better than none.
    """
    try:
        return open_store(path, mark, wall_ms=clocks.wall_ms())
    except StoreUnavailable as refusal:
        if not ballast.find() or not ballast.give_up():
            return open_read_only(path, mark, refusal)
    try:
        return open_store(path, mark, wall_ms=clocks.wall_ms())
    except StoreUnavailable as refusal:
        return open_read_only(path, mark, refusal)
