"""A store with clocks of our own, and answers that can be waited for."""

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from agentd.core.effects import Journal, Persist
from agentd.core.records import Durable, Record
from agentd.store.rows import Batch, Outcome, Row
from agentd.store.store import Clocks, Store

WAIT_S = 20.0


class Desk:
    """Opens the store of one directory, again and again if need be."""

    def __init__(self, directory: Path, boot_id: str = "boot-1") -> None:
        self.directory = directory
        self.boot_id = boot_id
        self.boottime_ms = 1_000_000
        self.wall_ms = 1_700_000_000_000
        self.health: list[tuple[bool, str]] = []
        self.late: list[tuple[Record, int]] = []
        self.changed = threading.Condition()
        self._store: Store | None = None

    @property
    def path(self) -> Path:
        return self.directory / "agentd.db"

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = Store.open(
                self.directory,
                self.boot_id,
                host="here",
                clocks=Clocks(lambda: self.boottime_ms, lambda: self.wall_ms),
                post=self._post,
                on_health=lambda ok, evidence: self.health.append((ok, evidence)),
                on_late=self._note_late,
            )
        return self._store

    def submit(self, *rows: Row, urgent: bool = False) -> list[Outcome]:
        """Hand rows over; the list has the outcome once there is one."""
        outcomes: list[Outcome] = []
        self.store.submit(Batch(rows, urgent=urgent), outcomes.append)
        return outcomes

    def write(self, *rows: Row, urgent: bool = False) -> Outcome:
        """Hand rows over and wait for the outcome."""
        outcomes = self.submit(*rows, urgent=urgent)
        self.wait_for(lambda: bool(outcomes))
        return outcomes[0]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something that the store posted has made the condition true."""
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_S), self.health

    def wait_for_health(self, *, ok: bool) -> None:
        self.wait_for(lambda: bool(self.health) and self.health[-1][0] is ok)

    def again(self) -> Store:
        """Close the store and open it anew."""
        self.close()
        return self.store

    def close(self) -> None:
        if self._store is not None:
            assert self._store.close()
            self._store = None

    def _post(self, call: Callable[[], None]) -> None:
        with self.changed:
            call()
            self.changed.notify_all()

    def _note_late(self, records: list[Record], outcome: Outcome) -> None:
        pairs = zip(records, outcome.stamps, strict=True)
        self.late.extend((record, stamp.id) for record, stamp in pairs)


def event(name: str = "agent.started", agent: str | None = "a", **more: object) -> Journal:
    return Journal(Record(name, "info", "it happened", agent, 1, "i-1", data=dict(more)))


def persist(agent: str = "a", *, lazy: bool = False, **durable: object) -> Persist:
    return Persist(agent, Durable(**durable), lazy=lazy)  # type: ignore[arg-type]


def ids(store: Store) -> list[object]:
    return [one["id"] for one in store.events(after=0, limit=10_000)]


@contextlib.contextmanager
def small_disk(path: Path, size: str = "2m") -> Iterator[Callable[[str], None]]:
    """Mount a tmpfs of that size; the call that is handed out remounts it with options."""
    path.mkdir()
    mount = shutil.which("mount")
    assert mount is not None
    subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)

    def remount(options: str) -> None:
        subprocess.run([mount, "-o", f"remount,{options}", path], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fill(directory: Path) -> Path:
    """Fill the disk to the last block; delete the file to make room again."""
    path = directory / "filler"
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 16, 4096):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    return path
