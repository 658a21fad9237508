"""When the daily report is sent: at its time, late where it was missed, never twice."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from agentd.config.schema import AlertsConfig, Config, DaemonConfig, ReportConfig, SinkConfig
from agentd.core.records import Rollup
from agentd.core.supervisor import Supervisor
from agentd.daemon.masks import Masks
from agentd.daemon.offload import Offload
from agentd.daemon.reports import MARK, RETRY_MS, NoSuchDay, Reports
from agentd.store.rows import Batch, IncidentRow, LifeRow, MarkRow, Outcome, Row

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, fold: int = 0) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)
    return round(moment.timestamp() * 1000)


def config(when: str = "08:00", severity: str = "info") -> Config:
    sink = SinkConfig(name="ops", type="webhook", url="http://127.0.0.1/", min_severity=severity)  # type: ignore[arg-type]
    return Config(
        daemon=DaemonConfig(timezone="Europe/Berlin"),
        report=ReportConfig(at=when),
        alerts=AlertsConfig(sinks=[sink]),
    )


class MarkStore:
    """A store of marks: what survives the daemon."""

    def __init__(self, marked: str | None = None) -> None:
        self.marked = None if marked is None else date.fromisoformat(marked).toordinal()
        self.broken = False
        self.is_slow = False
        """What is submitted is not to be read yet."""
        self.asked = 0

    def mark(self, name: str) -> int | None:
        assert name == MARK
        self.asked += 1
        if self.broken:
            raise sqlite3.OperationalError("disk I/O error")
        return self.marked

    def keep(self, rows: Sequence[Row]) -> None:
        for row in rows if not self.is_slow else ():
            if isinstance(row, MarkRow):
                self.marked = row.value

    def submit(self, batch: Batch, done: Callable[[Outcome], None]) -> None:
        self.keep(batch.rows)
        done(Outcome())

    def lifecycle(self, **_asked: object) -> list[LifeRow]:
        return []

    def life_before(self, **_asked: object) -> list[LifeRow]:
        return []

    def report_events(self, **_asked: object) -> list[LifeRow]:
        return []

    def rollups(self, **_asked: object) -> list[Rollup]:
        return []

    def incidents(self, **_asked: object) -> list[IncidentRow]:
        return []


class Daemon:
    """One life of the part under test, by a clock of ours."""

    def __init__(self, store: MarkStore, now_ms: int, how: Config | None = None) -> None:
        self.store, self.now_ms = store, now_ms
        self.sent: list[str] = []
        self.dies_before_writing = False
        how = how or config()
        self.reports = Reports(
            Supervisor(how, lambda: 0.0, str),
            store,
            Offload(asyncio.get_running_loop()),
            "here",
            Masks(),
            lambda: self.now_ms,
        )
        self.reports.sending = self
        self.reports.use(how)

    def send_report(
        self, document: Mapping[str, object], text: str, rows: Sequence[Row] = ()
    ) -> int:
        # Plain: each sink has its own marks for what is bold.
        assert text.startswith(f"{document['date']}, here: "), text
        if not self.dies_before_writing:
            self.sent.append(str(document["date"]))
            self.store.keep(rows)  # one batch: the alert and the mark
        return 1

    async def tick(self, now_ms: int | None = None) -> None:
        self.now_ms = self.now_ms if now_ms is None else now_ms
        self.reports.tick()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=10)


def play(store: MarkStore, *moments: int, how: Config | None = None) -> list[str]:
    """Return the dates whose reports one daemon sends at these moments."""

    async def live() -> list[str]:
        daemon = Daemon(store, moments[0], how)
        for moment in moments:
            await daemon.tick(moment)
        return daemon.sent

    return asyncio.run(live())


def test_the_first_start_of_all_owes_nobody_a_report() -> None:
    store = MarkStore()
    assert play(store, at("2026-11-20T10:00")) == []
    assert play(store, at("2026-11-21T07:59:59")) == []
    assert play(store, at("2026-11-21T08:00")) == ["2026-11-20"]


def test_the_report_of_a_day_comes_on_the_next_once() -> None:
    store = MarkStore("2026-11-18")
    moments = [at("2026-11-20T07:00") + minute * 60_000 for minute in range(3 * 60)]
    assert play(store, *moments) == ["2026-11-19"]
    assert play(store, *moments) == [], "another daemon on the same store"


def test_of_missed_reports_the_last_is_sent_late() -> None:
    assert play(MarkStore("2026-11-10"), at("2026-11-20T10:00")) == ["2026-11-19"]
    assert play(MarkStore("2026-11-10"), at("2026-11-20T07:00")) == ["2026-11-18"]


def test_whoever_dies_before_it_is_on_disk_sends_it_again() -> None:
    store = MarkStore("2026-11-18")

    async def dies() -> None:
        daemon = Daemon(store, at("2026-11-20T08:00"))
        daemon.dies_before_writing = True
        await daemon.tick()

    asyncio.run(dies())
    assert play(store, at("2026-11-20T08:01")) == ["2026-11-19"]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_time_that_is_skipped_or_comes_twice_is_met_once(day: str) -> None:
    """02:30 does not exist on the one day, and happens twice on the other."""
    eve = date.fromordinal(date.fromisoformat(day).toordinal() - 1)
    before = date.fromordinal(eve.toordinal() - 1)
    store = MarkStore(before.isoformat())
    midnight = at(f"{day}T00:00")
    moments = [midnight + minute * 60_000 for minute in range(6 * 60)]
    assert play(store, *moments, how=config("02:30")) == [eve.isoformat()]


def test_a_reload_changes_the_time() -> None:
    async def live() -> list[str]:
        daemon = Daemon(MarkStore("2026-11-18"), at("2026-11-20T07:00"))
        await daemon.tick()
        daemon.reports.use(config("10:00"))
        await daemon.tick(at("2026-11-20T09:59"))
        assert daemon.sent == []
        await daemon.tick(at("2026-11-20T10:00"))
        return daemon.sent

    assert asyncio.run(live()) == ["2026-11-19"]


def test_a_reload_before_the_mark_is_on_disk_sends_nothing_twice() -> None:
    async def live() -> list[str]:
        daemon = Daemon(MarkStore("2026-11-18"), at("2026-11-20T08:00"))
        daemon.store.is_slow = True
        await daemon.tick()
        daemon.reports.use(config("08:00"))
        await daemon.tick()
        return daemon.sent

    assert asyncio.run(live()) == ["2026-11-19"]


def test_a_reload_while_a_report_is_made_counts() -> None:
    async def live() -> list[str]:
        daemon = Daemon(MarkStore("2026-11-19"), at("2026-11-20T09:00"))
        daemon.reports.tick()
        await asyncio.sleep(0)  # it has begun to ask the store
        daemon.reports.use(config("06:00"))
        await daemon.tick()
        await daemon.tick(at("2026-11-21T05:59"))
        assert daemon.sent == []
        await daemon.tick(at("2026-11-21T06:00"))
        return daemon.sent

    assert asyncio.run(live()) == ["2026-11-20"]


def test_a_clock_that_is_set_back_sends_nothing_twice() -> None:
    store = MarkStore("2026-11-18")
    moments = [at(f"2026-11-20T{time}") for time in ("08:00", "07:00", "08:00", "08:01")]
    assert play(store, *moments) == ["2026-11-19"]


def test_a_clock_that_was_in_the_future_does_not_silence_the_report() -> None:
    store = MarkStore("2031-01-01")
    assert play(store, at("2026-11-20T09:00"), at("2026-11-21T08:00")) == ["2026-11-20"]


def test_without_a_sink_that_takes_info_nothing_is_sent_or_owed() -> None:
    store = MarkStore("2026-11-18")
    assert play(store, at("2026-11-20T09:00"), how=config(severity="warning")) == []
    assert play(store, at("2026-11-20T10:00")) == [], "a new sink gets no old news"


def test_a_store_that_cannot_be_read_is_asked_again_after_a_while() -> None:
    async def live() -> list[str]:
        daemon = Daemon(MarkStore("2026-11-18"), at("2026-11-20T08:00"))
        daemon.store.broken = True
        for second in range(30):
            await daemon.tick(at("2026-11-20T08:00") + 1_000 * second)
        assert daemon.store.asked == 1
        daemon.store.broken = False
        await daemon.tick(at("2026-11-20T08:00") + RETRY_MS)
        return daemon.sent

    assert asyncio.run(live()) == ["2026-11-19"]


def test_between_reports_nothing_is_read() -> None:
    store = MarkStore("2026-11-18")
    play(store, *(at("2026-11-20T08:00") + 1_000 * second for second in range(1_000)))
    assert store.asked == 1


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, "2026-11-19"),
        ("yesterday", "2026-11-19"),
        ("today", "2026-11-20"),
        ("2026-10-25", "2026-10-25"),
    ],
)
def test_a_report_can_be_asked_for(asked: str | None, expected: str) -> None:
    async def ask() -> Mapping[str, object]:
        return await Daemon(MarkStore(), at("2026-11-20T10:00")).reports.report(asked)

    document = asyncio.run(ask())
    assert document["date"] == expected
    assert document["timezone"] == "Europe/Berlin"
    if expected == "2026-10-25":
        assert document["from"] == "2026-10-24T22:00:00.000Z"
        assert document["to"] == "2026-10-25T23:00:00.000Z", "25 hours"


@pytest.mark.parametrize("asked", ["2026-11-21", "soon", "0001-01-01", "2026-02-30"])
def test_a_day_without_a_report_is_refused_in_words(asked: str) -> None:
    async def ask() -> None:
        await Daemon(MarkStore(), at("2026-11-20T10:00")).reports.report(asked)

    with pytest.raises(NoSuchDay, match="date: "):
        asyncio.run(ask())
