"""History and the daily report: answered on demand, and sent once a day to whoever wants it.

The report of a day is due on the next day at `[report] at`, by the clock of the zone. What was
sent last is a mark in the store, written in one batch with the alert: however the daemon ends,
no date is sent twice, and one that was missed is sent late, once; of several the last.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, tzinfo
from functools import partial
from typing import Final, Protocol

from agentd.config.civil import civil, zone_of
from agentd.config.schema import Config
from agentd.core import actions, budgets
from agentd.core.records import Rollup
from agentd.core.select import without_internal
from agentd.core.spending import Limit
from agentd.core.supervisor import Supervisor
from agentd.daemon.log import log
from agentd.daemon.masks import Masks
from agentd.daemon.offload import Offload, TooBusy
from agentd.daemon.past import Pasts
from agentd.daemon.past import Store as Readable
from agentd.reporting import daily, history, series
from agentd.reporting.days import date_of, moment_of, span_of
from agentd.reporting.history import Place
from agentd.reporting.text import report_text
from agentd.sinks.routing import reported
from agentd.store.rows import Batch, MarkRow, Outcome, Row

Document = Mapping[str, object]

MARK: Final = "report_date"
_DAY_MS: Final = 86_400_000
HISTORY_DEFAULT_MS: Final = 7 * _DAY_MS
# After a failure the store is asked again.
RETRY_MS: Final = 60_000
DATE_EXAMPLE: Final = "a date such as 2026-11-20, today or yesterday"


class NoSuchDay(Exception):  # noqa: N818 - named after what the user is told
    """There is no report for that; the message says why."""


class Store(Readable, Protocol):
    """What is read and written."""

    def mark(self, name: str) -> int | None: ...

    def submit(self, batch: Batch, done: Callable[[Outcome], None]) -> None: ...


class Sending(Protocol):
    """Whoever brings reports to people."""

    def send_report(self, document: Document, text: str, rows: Sequence[Row] = ()) -> int: ...


@dataclass(slots=True)
class Reports:
    """Answers from the store, in threads; `tick` sends what is due."""

    supervisor: Supervisor
    store: Store
    offload: Offload
    host: str
    masks: Masks
    wall_ms: Callable[[], int]
    sending: Sending | None = None
    """Set before the first `tick`."""
    _config: Config = field(default_factory=Config)
    _zone: tzinfo = field(default_factory=lambda: zone_of(""))
    _look_ms: int = 0
    """When there may be something to send."""
    _seen_ms: int = 0
    _marked: int | None = None
    """The date that was marked last (ordinal); None: the store was not asked yet."""
    _task: asyncio.Task[None] | None = None

    def use(self, config: Config) -> None:
        """Go by this config from now on."""
        self._config = config
        self._zone = zone_of(config.daemon.timezone)
        self._look_ms = 0

    # --- on demand

    async def history(
        self, names: Sequence[str], since_ms: int | None, step_ms: int | None = None
    ) -> Document:
        """Return the history document; raises sqlite3.Error and `TooBusy`.

        With a step (0: the shortest there may be) also figures over time.
        """
        now_ms = self.wall_ms()
        begins_ms = now_ms - HISTORY_DEFAULT_MS if since_ms is None else since_ms
        if begins_ms >= now_ms:
            raise NoSuchDay("since: that has not come yet")
        kept_ms = self._config.daemon.history_days * _DAY_MS
        begins_ms = max(begins_ms, now_ms - kept_ms, 0)

        def read() -> Document:
            past = Pasts(self.store).lives(names, begins_ms, now_ms)
            document = history.history_document(past, names, self._place())
            if step_ms is None:
                return document
            window = series.window_of(begins_ms, now_ms, step_ms, len(names))
            return series.with_series(document, window, self._steps(names, window))

        return await self.offload.run(read)

    def _steps(self, names: Sequence[str], window: series.Window) -> list[Rollup]:
        """Read what agents did in each step of a window; in a thread."""
        if not names:  # to the store that means all that there ever were
            return []
        return self.store.rollups(
            agents=names,
            since_wall_ms=window.begins_ms,
            until_wall_ms=window.ends_ms,
            span=window.step_minutes,
        )

    async def report(self, asked: str | None) -> Document:
        """Return the report of a date; None: of the last whole day.

        Raises `NoSuchDay`, sqlite3.Error and `TooBusy`.
        """
        return await self._made(self._day(asked))

    def _day(self, asked: str | None) -> date:
        now_ms = self.wall_ms()
        today = date_of(now_ms, self._zone)
        if asked == "today":
            return today
        if asked is None or asked == "yesterday":
            return self._day_before(today)
        try:
            day = date.fromisoformat(asked)
        except ValueError:
            raise NoSuchDay(f"date: {asked[:40]!r} is not {DATE_EXAMPLE}") from None
        if day > today:
            raise NoSuchDay(f"date: {day} has not come yet; today is {today}")
        if span_of(day, self._zone) is None:
            raise NoSuchDay(f"date: there was no {day} here")
        return day

    async def _made(self, day: date) -> Document:
        """Make the report of a day that has begun; of the last one, with what is open now."""
        now_ms = self.wall_ms()
        span = span_of(day, self._zone)
        assert span is not None, day
        newest = now_ms < civil(span[1], self._zone).day[1]
        names = list(without_internal(self.supervisor.agents))
        given = partial(
            daily.Given,
            day=day,
            span=(span[0], min(span[1], now_ms)),
            names=names,
            limits=self._limits(names),
            unfinished=self._unfinished(names) if newest else {},
            now_ms=now_ms if newest else None,
        )

        def read() -> Document:
            return self._read(given, names, span, now_ms)

        return await self.offload.run(read)

    def _read(
        self, given: Callable[..., daily.Given], names: Sequence[str], span: tuple[int, int],
        now_ms: int,
    ) -> Document:  # fmt: skip
        """Read and put together; in a thread."""
        pasts = Pasts(self.store)
        since = daily.rows_since(span, self._zone), daily.rollups_since(span, self._zone)
        past = pasts.report(names, since, (span[0], min(span[1], now_ms)))
        whole = given(past=past, incidents=pasts.incidents())
        if whole.now_ms is not None and whole.now_ms > span[1]:
            # What today has cost so far is for the budgets alone.
            more = self.store.rollups(since_wall_ms=span[1], until_wall_ms=now_ms, span="hour")
            whole = replace(whole, past=replace(past, rollups=[*past.rollups, *more]))
        return daily.daily_document(whole, self._place())

    def _limits(self, names: Sequence[str]) -> dict[str, list[Limit]]:
        agents = self.supervisor.agents
        return {name: list(budgets.limits_of(agents[name].config.budget)) for name in names}

    def _unfinished(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return the actions that were cut off and that nobody has accepted yet."""
        agents = self.supervisor.agents
        found = {
            name: [each.key for each in actions.cut_off(agents[name]) if not each.accepted]
            for name in names
        }
        return {
            name: [self.masks.text(key) for key in keys] for name, keys in found.items() if keys
        }

    def _place(self) -> Place:
        name = getattr(self._zone, "key", None) or "UTC"
        return Place(self.host, name, self._zone)

    def _day_before(self, day: date) -> date:
        span = span_of(day, self._zone)
        assert span is not None, day
        return date_of(span[0] - 1, self._zone)

    # --- once a day

    def tick(self) -> None:
        """Send what is due; once a second, and nothing but two comparisons as a rule."""
        now_ms = self.wall_ms()
        turned_back = now_ms < self._seen_ms
        self._seen_ms = now_ms
        if self.sending is None or (now_ms < self._look_ms and not turned_back):
            return
        if self._task is None or self._task.done():
            self._look_ms = now_ms + RETRY_MS
            self._task = asyncio.get_running_loop().create_task(self._send_due(now_ms))

    async def _send_due(self, now_ms: int) -> None:
        """Send the report that is due and was not sent; a failure is tried again."""
        day, next_ms = self._due(now_ms)
        config = self._config
        try:
            marked = self._marked
            if marked is None:  # later on we know better: what is submitted is not yet to be read
                marked = await self.offload.run(partial(self.store.mark, MARK))
            if marked is None or marked > date_of(now_ms, self._zone).toordinal():
                # The first start of all, or a clock that was wrong: nothing is owed.
                self._write([MarkRow(MARK, day.toordinal())])
                marked = day.toordinal()
            elif marked < day.toordinal():
                await self._send(day)
                marked = day.toordinal()
        except (sqlite3.Error, TooBusy) as error:
            log.warning("report.failed", date=day, error=error)
            return
        self._marked = marked
        if self._config is config:  # else the time may be another one
            self._look_ms = next_ms

    async def _send(self, day: date) -> None:
        mark = MarkRow(MARK, day.toordinal())
        if not reported(self._config.alerts.sinks):
            self._write([mark])  # nobody wants it; `agentctl report` has it all the same
            return
        document = await self._made(day)
        assert self.sending is not None
        self.sending.send_report(document, report_text(document, self._zone), [mark])

    def _write(self, rows: Sequence[Row]) -> None:
        def written(outcome: Outcome) -> None:
            if outcome.error:
                log.warning("report.unmarked", error=outcome.error)

        self.store.submit(Batch(tuple(rows)), written)

    def _due(self, now_ms: int) -> tuple[date, int]:
        """Return the last day whose report is due by now, and when the next one will be."""
        at, zone = self._config.report.at, self._zone
        today = date_of(now_ms, zone)
        today_ms = moment_of(today, at, zone)
        if now_ms < today_ms:
            return self._day_before(self._day_before(today)), today_ms
        tomorrow = date_of(civil(now_ms, zone).day[1], zone)
        return self._day_before(today), moment_of(tomorrow, at, zone)
