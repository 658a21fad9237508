"""What is printed at the end: memory and files over the run, latencies, and the table of faults."""

from collections.abc import Sequence

from tests.faults.guard import LAG_MS_MAX, RSS_BYTES_MAX, STATUS_MS_MAX
from tests.soak.kinds import KINDS
from tests.soak.looks import Looker, Sample
from tests.soak.soak import Soak

MIB = 1 << 20
WARM_UP_S = 300.0
"""Until then caches, baselines and histories fill up."""
FLAT_FROM_S = 900.0
"""A life that is shorter says nothing about a slope."""
GROWTH_MAX = 1.05
"""FAULTS G14: flat within 5 %. Said of what is kept, and of RSS in the second half of a life: until
then allocators come to have the pages that busy moments need."""
COUNTS = 2
TYPES_SHOWN = 8
SIZES = ("blocks", "in_use_bytes", "alerts")
ALERT = "agentd.store.rows.AlertRow"
ALERT_BLOCKS = 33
"""An alert that waits, with what belongs to it: 379,418 blocks with 4,043, from 243,776."""
CACHES_BYTES = 8 * MIB
"""SQLite's page caches, which fill as the store grows: 2,000 KiB (store/connection.py) for each of
four connections."""


def longest_life(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of that image of the daemon which lived longest."""
    lives: dict[tuple[int, int], list[Sample]] = {}
    for one in samples:
        lives.setdefault((one.pid, one.life), []).append(one)
    return max(lives.values(), key=lambda life: life[-1].at_s - life[0].at_s)


def slope_per_h(samples: Sequence[Sample]) -> float:
    """Bytes an hour by which the daemon's memory grows: least squares over its samples."""
    count = len(samples)
    mean_t = sum(one.at_s for one in samples) / count
    mean_y = sum(one.rss_bytes for one in samples) / count
    over = sum((one.at_s - mean_t) * (one.rss_bytes - mean_y) for one in samples)
    under = sum((one.at_s - mean_t) ** 2 for one in samples)
    return over / under * 3600 if under else 0.0


def middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def sizes(soak: Soak, looker: Looker) -> None:
    """Memory, files, threads, zombies; a life that was long enough must be flat."""
    life = longest_life(looker.samples)
    length_s = life[-1].at_s - life[0].at_s
    warm = [one for one in life if one.at_s - life[0].at_s >= min(WARM_UP_S, length_s / 3)]
    tenth = max(1, len(warm) // 10)
    early = middle([one.rss_bytes for one in warm[:tenth]])
    second_half = warm[len(warm) // 2 :]
    half_way = middle([one.rss_bytes for one in second_half[:tenth]])
    late = middle([one.rss_bytes for one in warm[-tenth:]])
    is_long = length_s >= FLAT_FROM_S
    say = soak.say
    say(f"daemon: {len(soak.killed_s)} times killed, its image ended by {looker.life} faults;")
    say(f"  its longest life {length_s / 60:.1f} min, in which")
    say(f"  RSS at its start {life[0].rss_bytes / MIB:.1f} MiB,")
    say(f"  after warm-up {early / MIB:.1f} MiB,")
    say(f"  half way {half_way / MIB:.1f} MiB,")
    say(f"  at its end {late / MIB:.1f} MiB; slope {slope_per_h(warm) / MIB:+.2f} MiB/h;")
    most = max(one.rss_bytes for one in looker.samples)
    say(f"  the most in all of its lives {most / MIB:.1f} MiB")
    fds = [one.fds for one in warm]
    say(f"  open files after warm-up {middle(fds[:tenth])}, at its end {middle(fds[-tenth:])}")
    threads = [one.threads for one in life]
    zombies = max(one.zombies for one in looker.samples)
    say(f"  threads {middle(threads)} (at most {max(threads)}), zombies seen at once {zombies}")
    if late > RSS_BYTES_MAX:
        soak.broke(f"RSS grew from {early / MIB:.1f} to {late / MIB:.1f} MiB in one life")
    alerts = more_alerts(life[: -len(second_half)], second_half)
    say(f"  {alerts} more alerts waited at once in its second half than before")
    if is_long and late > half_way * GROWTH_MAX:
        grown = f"{half_way / MIB:.1f} to {late / MIB:.1f} MiB"
        soak.broke(f"RSS grew from {grown} in the second half of one life")
    _kept(soak, warm, counted_twice(looker), is_long=is_long)


def _kept(
    soak: Soak,
    warm: Sequence[Sample],
    counted: tuple[dict[str, int], dict[str, int]] | None,
    *,
    is_long: bool,
) -> None:
    """What is kept, whatever pages the allocator has: a life that was long enough must be flat.

    Blocks are compared as they were counted, after garbage was collected and without the alerts
    that wait; in a life that was not counted twice, and for bytes, the lowest figures of the first
    and the last fifth.
    """
    blocks = _lowest([one.blocks for one in warm if one.blocks is not None])
    if counted is not None:
        soak.say(grown_types(*counted))
        blocks = without_alerts(counted[0]), without_alerts(counted[1])
    in_use = _lowest([one.in_use_bytes for one in warm if one.in_use_bytes is not None])
    for what, ends, more in (
        ("allocated blocks", blocks, 0),
        ("bytes in use", in_use, CACHES_BYTES),
    ):
        if ends is not None:
            early, late = ends
            soak.say(f"  {what} after warm-up {early:,}, at its end {late:,}")
            if is_long and late > early * GROWTH_MAX + more:
                soak.broke(f"{what} grew from {early:,} to {late:,} in one life")


def _lowest(values: Sequence[int]) -> tuple[int, int] | None:
    fifth = max(1, len(values) // 5)
    return (min(values[:fifth]), min(values[-fifth:])) if values else None


def kept_told(one: Sample) -> str:
    """How large the daemon was at a moment, in a line."""
    words = [f"RSS {one.rss_bytes / MIB:.1f} MiB", f"{one.fds} files", f"{one.threads} threads"]
    if one.blocks is not None and one.in_use_bytes is not None:
        words += [f"{one.blocks:,} blocks", f"{one.in_use_bytes / MIB:.1f} MiB in use"]
    return f"{one.at_s:7.1f} s  daemon: {', '.join(words)}"


def counted_twice(looker: Looker) -> tuple[dict[str, int], dict[str, int]] | None:
    """The last two counts of objects, where both are of one image."""
    if len(looker.counted) < COUNTS or looker.counted[-1][0] != looker.counted[-COUNTS][0]:
        return None
    return looker.counted[-COUNTS][1], looker.counted[-1][1]


def grown_types(before: dict[str, int], after: dict[str, int]) -> str:
    """Of which types there are more than when they were counted before."""
    more = {name: after[name] - before.get(name, 0) for name in after if name not in SIZES}
    most = sorted(more.items(), key=lambda one: -one[1])[:TYPES_SHOWN]
    return "  objects more: " + ", ".join(f"{name} {count:+,}" for name, count in most if count > 0)


def more_alerts(before: Sequence[Sample], after: Sequence[Sample]) -> int:
    """By how many more alerts waited at once in one part of a life than in the part before it."""
    most = max(one.alerts for one in after)
    return max(0, most - max((one.alerts for one in before), default=0))


def without_alerts(counted: dict[str, int]) -> int:
    """Allocated blocks, less those of alerts that wait: a queue that has a bound of its own."""
    return counted["blocks"] - ALERT_BLOCKS * counted.get(ALERT, 0)


def latencies(soak: Soak) -> None:
    """How long the loop kept an agent waiting, and `status` an operator."""
    lag = [took - starved for _, took, starved in soak.fleet.answers()]
    watch = soak.fleet._watch
    asked = [
        one.took_ms
        for one in (watch.asked if watch else [])
        if not soak.fleet.is_away(one.begun, one.ended) and one.error is None
    ]
    for what, values, most in (
        ("an agent's answer", lag, LAG_MS_MAX),
        ("status", asked, STATUS_MS_MAX),
    ):
        if values:
            soak.say(
                f"{what}: p50 {percentile(values, 0.5):.1f} ms, "
                f"p99 {percentile(values, 0.99):.1f} ms, "
                f"at most {max(values):.1f} ms (<= {most:.0f}), of {len(values)}"
            )


def table(soak: Soak) -> None:
    """Kinds, how many of each, and what was seen."""
    soak.say(f"{'fault':46} {'ids':12} {'count':>5}  seen")
    for kind in KINDS.values():
        seen = soak.seen[kind.name]
        if not seen:
            continue
        words = ", ".join(
            f"{what} {n}" if len(seen) > 1 else what for what, n in seen.most_common(4)
        )
        soak.say(f"{kind.name:46} {kind.ids:12} {sum(seen.values()):5}  {words}")


def totals(soak: Soak) -> None:
    told = soak.listener.told
    words = ("agent.starting", "agent.exited", "agent.escalated", "agent.adopted", "agent.paused")
    soak.say(
        f"events {soak.listener.cursor} (followed over {soak.listener.cuts} cuts): "
        + ", ".join(f"{word.partition('.')[2]} {told[word]}" for word in words)
    )
    ledger = soak.ledger
    soak.say(
        f"orders {ledger.orders}: {ledger.refused} refused, {ledger.unanswered} unanswered, "
        f"{ledger.replayed} sent twice; alerts taken {len(soak.good.accepted())} and "
        f"{len(soak.bad.accepted())}"
    )
