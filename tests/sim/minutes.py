"""Rollups of a world, added up: they hold what the records on disk say they do, and no more."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import fields

from agentd.core import effects as do
from agentd.core.records import Durable, Rolled, Rollup
from tests.sim.world import Broken

TOTALS = tuple(each.name for each in fields(Rolled))


class Minutes:
    """What has been told of each agent on disk."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(TOTALS, 0))
        self._told_at_ms: dict[str, int] = defaultdict(int)

    def after_commit(
        self, disk: Mapping[str, Durable], effects: Iterable[do.Effect], now_ms: int
    ) -> None:
        """Compare with what is durable after a step."""
        for effect in effects:
            if isinstance(effect, do.SaveRollups):
                for rollup in effect.rollups:
                    self._add(rollup, now_ms)
            elif isinstance(effect, do.Forget):
                self._sums.pop(effect.agent, None)
        for name, durable in disk.items():
            told, rolled = self._sums[name], durable.rolled or Rolled()
            if told != {total: getattr(rolled, total) for total in TOTALS}:
                raise Broken(f"{name}: rollups hold {told}, its record says {rolled}")
            if rolled.tokens > durable.tokens or rolled.cost_micros > durable.cost_micros:
                raise Broken(f"{name}: rollups hold more than it spent: {rolled}")

    def _add(self, rollup: Rollup, now_ms: int) -> None:
        sums = self._sums[rollup.agent]
        for total in TOTALS:
            amount = getattr(rollup, total)
            if amount < 0:
                raise Broken(f"{rollup.agent}: less than nothing in {rollup}")
            sums[total] += amount
        stood_ms = rollup.healthy_ms + rollup.degraded_ms + rollup.unreachable_ms
        stood_ms += rollup.unknown_ms + rollup.down_ms + rollup.rest_ms
        told_at_ms = self._told_at_ms[rollup.agent]
        if stood_ms > now_ms - told_at_ms:
            raise Broken(f"{rollup.agent}: {stood_ms} ms between {told_at_ms} and {now_ms}")
        self._told_at_ms[rollup.agent] = now_ms
