"""Two weeks of a fleet in virtual time: the real core, the real store, the real report."""

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from agentd.config.agent import AgentConfig, HeartbeatConfig, RestartConfig
from agentd.config.schema import Config, DaemonConfig
from agentd.config.units import Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.lines import Heartbeat
from agentd.daemon.masks import Masks
from agentd.daemon.offload import Offload
from agentd.daemon.reports import Reports
from tests.core.fleet import Fleet
from tests.reporting.lives import DAY_MS, HOUR_MS, MINUTE_MS
from tests.store.desk import Desk

DAYS = 14
LASTS_MS = DAYS * DAY_MS - HOUR_MS  # the last day has 23 hours
BEAT_MS = 5 * MINUTE_MS
FIRST = date(2026, 3, 16)  # with a change of the clocks in it: 2026-03-29
ZONE = "Europe/Berlin"
# 2026-03-15 23:00 UTC, midnight in Berlin.
BEGINS_MS = 1_773_615_600_000

Beat = Callable[[int, random.Random], Heartbeat]


def usual(dice: random.Random, *, hour: int, tokens: float = 900, fails: float = 0.02) -> Heartbeat:
    """One cycle of ordinary work, more of it by day, with the noise of life."""
    tasks = dice.randrange(4, 8) if 7 <= hour < 21 else dice.randrange(1, 4)
    failures = sum(dice.random() < fails for _ in range(tasks))
    spent = round(tokens * math.exp(dice.gauss(0, 0.25)))
    return Heartbeat(
        tokens=spent,
        cost_micros=spent * 3,
        successes=tasks - failures,
        failures=failures,
        latencies_ms=tuple(300 * math.exp(dice.gauss(0, 0.5)) for _ in range(tasks)),
    )


@dataclass(slots=True)
class Plan:
    """What one agent does: its beats, and when its process is killed."""

    beat: Callable[[int, int, random.Random], Heartbeat]
    """Of a day (from 0) and an hour."""
    deaths_ms: tuple[int, ...] = ()


@dataclass(slots=True)
class Fortnight:
    """Plays the plans, and keeps in the store what the core wants kept."""

    desk: Desk
    plans: Mapping[str, Plan]
    seed: int = 1
    _pending: list[do.SaveRollups] = field(default_factory=list)

    def play(self) -> None:
        dice = random.Random(self.seed)  # noqa: S311 - a seed tells the same fortnight again
        heartbeat = HeartbeatConfig(interval_ms=Milliseconds(BEAT_MS))
        restart = RestartConfig(stable_after_ms=Milliseconds(15 * MINUTE_MS))
        fleet = Fleet(
            {
                name: AgentConfig(
                    command=["x"],
                    heartbeat=heartbeat,
                    restart=restart,
                    startup_timeout_ms=Milliseconds(2 * BEAT_MS),
                )
                for name in self.plans
            }
        )
        self.desk.wall_ms = BEGINS_MS
        fleet.start()
        deaths = sorted(
            (at_ms, name) for name, plan in self.plans.items() for at_ms in plan.deaths_ms
        )
        # In the minutes between two beats nothing happens: they are told with the last of them.
        for at_ms in range(BEAT_MS, LASTS_MS + 1, BEAT_MS):
            while deaths and deaths[0][0] < at_ms:
                died_ms, name = deaths.pop(0)
                fleet.end(name, max(died_ms, fleet.now_ms), signal=9)
            day, hour = divmod(at_ms - 1, DAY_MS)
            for name, plan in self.plans.items():
                fleet.beat(name, at_ms, plan.beat(day, hour // HOUR_MS, dice))
            fleet.tell(ev.MinuteEnded(BEGINS_MS + at_ms - MINUTE_MS), at_ms)
            self._keep(fleet, whole_day=at_ms % DAY_MS == 0 or at_ms == LASTS_MS)
        self.fleet = fleet

    fleet: Fleet = field(init=False)

    def _keep(self, fleet: Fleet, *, whole_day: bool) -> None:
        """Write what was journaled at its time; rollups know their time, and go a day at once."""
        for at_ms, effect in fleet.effects:
            if isinstance(effect, do.SaveRollups):
                self._pending.append(effect)
            elif isinstance(effect, do.Journal | do.PersistIncident):
                self.desk.boottime_ms = at_ms
                self.desk.wall_ms = BEGINS_MS + at_ms
                assert self.desk.write(effect).ok
        fleet.effects.clear()
        if whole_day:
            self.desk.wall_ms = BEGINS_MS + fleet.now_ms
            assert self.desk.write(*self._pending).ok
            self._pending.clear()

    def reports(self, now_ms: int | None = None) -> Reports:
        """The daemon's own reports on this store, at 08:00 of the day after."""
        moment_ms = BEGINS_MS + LASTS_MS + 8 * HOUR_MS if now_ms is None else now_ms
        made = Reports(
            self.fleet.core,
            self.desk.store,
            Offload(asyncio.get_running_loop()),
            "here",
            Masks(),
            lambda: moment_ms,
        )
        made.use(Config(daemon=DaemonConfig(timezone=ZONE)))
        return made

    def report(self, day: date | None = None) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            last = FIRST + timedelta(days=DAYS - 1)
            return dict(await self.reports().report((day or last).isoformat()))

        return asyncio.run(ask())

    def history(self, *names: str) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            reports = self.reports(BEGINS_MS + LASTS_MS)
            return dict(await reports.history(names or tuple(self.plans), BEGINS_MS))

        return asyncio.run(ask())
