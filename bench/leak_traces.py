"""Labelled synthetic memory of 24 h: ten families that leak, fourteen that only look so.

    python bench/leak_traces.py OUT_DIR [--seeds 5] [--families L1,N3] [--format csv|simulate]

csv       OUT_DIR/FAMILY_SEED.csv with the columns t_s, rss_kib, tasks
simulate  OUT_DIR/FAMILY_SEED.jsonl and .toml, for `agentd simulate --config X.toml X.jsonl`

Either way OUT_DIR/labels.csv says of each run whether it leaks (growth that never ends by
itself and would cross the limit), when that begins, the limit, and the first sample at or
above it, where the run ends. Everything follows from family and seed. Needs numpy.
"""

import argparse
import csv
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Series = NDArray[Any]
MIB_KIB = 1024.0
FLOOR_KIB = 8 * MIB_KIB
SIZES_MIB = (1024.0, 1536.0, 2048.0, 4096.0)


@dataclass(frozen=True)
class Label:
    """What is known of a run; an empty string where there is nothing to know."""

    family: str
    leak: int
    onset_s: int | str
    limit_kib: int
    t_limit_s: int | str
    final_rate_kib_h: int
    what: str


class World:
    """One run's chance, clock and sizes, and the building blocks of its memory in KiB."""

    def __init__(self, name: str, seed: int, hours: float, dt: float) -> None:
        self.random = np.random.default_rng([zlib.crc32(name.encode()), seed])
        self.n = int(hours * 3600 / dt)
        self.dt = float(dt)
        self.t = np.arange(self.n) * self.dt
        self.h = self.t / 3600.0
        self.limit = float(self.random.choice(SIZES_MIB)) * MIB_KIB
        self.base = self.limit * self.random.uniform(0.12, 0.25)
        self.onset_s = 0.0
        rate = np.full(self.n, self.random.uniform(10, 40) / 3600 * self.dt)
        self.tasks: Series = np.cumsum(self.random.poisson(rate))

    def between(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def warmup(self) -> Series:
        """Imports, caches, pools: the rise of 3-15 minutes that every agent has."""
        tau = self.between(60, 300)
        return self.base * (1 - self.between(0.4, 0.7) * np.exp(-self.t / tau))

    def noise(self, share: float = 0.004) -> Series:
        """First-order autoregressive, as real memory is; that is what breaks plain tests."""
        phi = np.exp(-self.dt / self.between(60, 600))
        shocks = self.random.normal(0, 1, self.n)
        out = np.empty(self.n)
        out[0] = shocks[0]
        scale = np.sqrt(1 - phi * phi)
        for i in range(1, self.n):
            out[i] = phi * out[i - 1] + scale * shocks[i]
        return self.base * share * out

    def rate_to_limit(self, low_h: float, high_h: float) -> float:
        """KiB an hour that fill the room in so many hours after the onset."""
        return (self.limit - self.base) / self.between(low_h, high_h)

    def sawtooth(self, height: float, period_s: float) -> Series:
        """A garbage-collected heap: it rises, and drops at a jittered period."""
        out = np.zeros(self.n)
        i = 0
        while i < self.n:
            k = max(2, int(period_s * self.random.uniform(0.6, 1.4) / self.dt))
            j = min(self.n, i + k)
            out[i:j] = height * self.random.uniform(0.7, 1.1) * np.linspace(0, 1, k)[: j - i]
            i = j
        return out

    def diurnal(self) -> Series:
        phase = self.between(0, 24)
        return 0.5 - 0.5 * np.cos(2 * np.pi * (self.h - phase) / 24)

    def since(self, onset_h: float) -> Series:
        """Hours since the leak began."""
        self.onset_s = onset_h * 3600
        return np.maximum(0.0, self.h - onset_h)


Shape = Callable[[World], Series]
FAMILIES: dict[str, tuple[Shape, int, str]] = {}


def family(name: str, leak: int, what: str) -> Callable[[Shape], Shape]:
    """Register a shape; the order of its draws is part of what a seed means."""

    def register(shape: Shape) -> Shape:
        FAMILIES[name] = (shape, leak, what)
        return shape

    return register


@family("L1_linear", 1, "steady leak from the start")
def _linear(w: World) -> Series:
    return w.warmup() + w.noise() + w.rate_to_limit(6, 14) * w.since(0.0)


@family("L2_slow", 1, "slow leak, 18-23 h to the limit, close to the noise")
def _slow(w: World) -> Series:
    return w.warmup() + w.noise(0.012) + w.rate_to_limit(18, 23) * w.since(0.0)


@family("L3_fast", 1, "sudden leak mid-run, 15-60 min to the limit")
def _fast(w: World) -> Series:
    return w.warmup() + w.noise() + w.rate_to_limit(0.25, 1.0) * w.since(w.between(3, 16))


@family("L4_per_task", 1, "leak per task under a day and night load")
def _per_task(w: World) -> Series:
    load = 0.05 + w.diurnal() ** 2
    done = w.random.poisson(load * 60 / 3600 * w.dt)
    w.tasks = np.cumsum(done)
    per_task = (w.limit - w.base) / max(1, w.tasks[-1]) * w.between(1.1, 1.8)
    return w.warmup() + w.noise() + per_task * w.tasks


@family("L5_staircase", 1, "leak in chunks at random times")
def _staircase(w: World) -> Series:
    gap_h = w.between(0.3, 0.8)
    hit = w.random.random(w.n) < w.dt / 3600 / gap_h
    size = w.rate_to_limit(8, 16) * gap_h
    return w.warmup() + w.noise() + np.cumsum(hit * size * w.random.uniform(0.5, 1.5, w.n))


@family("L6_gc_floor", 1, "sawtooth of a collected heap whose floor rises")
def _gc_floor(w: World) -> Series:
    saw = w.sawtooth(w.base * w.between(0.3, 0.8), w.between(120, 1500))
    return w.warmup() + saw + w.noise() + w.rate_to_limit(8, 16) * w.since(w.between(0, 3))


@family("L7_late", 1, "flat for hours, then a code path that leaks is first used")
def _late(w: World) -> Series:
    return w.warmup() + w.noise() + w.rate_to_limit(4, 9) * w.since(w.between(6, 13))


@family("L8_accelerating", 1, "growth that speeds up")
def _accelerating(w: World) -> Series:
    since = w.since(w.between(0, 4))
    full_h = w.between(8, 16)
    return w.warmup() + w.noise() + (w.limit - w.base) * (since / full_h) ** 2


@family("L9_partial_release", 1, "leak with trims that give back a part")
def _partial_release(w: World) -> Series:
    rate = w.rate_to_limit(2.5, 4.0)
    gap, keep = w.between(0.7, 1.5), w.between(0.35, 0.6)
    since = w.since(0.0)
    trims = np.floor(since / gap)
    return w.warmup() + w.noise() + rate * (trims * gap * keep + (since - trims * gap))


@family("L10_step_then_leak", 1, "a harmless step, then a leak")
def _step_then_leak(w: World) -> Series:
    step_h = w.between(2, 5)
    step = (w.h > step_h) * w.base * w.between(0.3, 0.8)
    harmless = w.warmup() + w.noise() + step
    return harmless + w.rate_to_limit(5, 10) * w.since(step_h + w.between(1, 4))


@family("N1_flat", 0, "flat, with autocorrelated noise")
def _flat(w: World) -> Series:
    return w.warmup() + w.noise(w.between(0.004, 0.02))


@family("N2_long_warmup", 0, "warm-up that saturates within hours")
def _long_warmup(w: World) -> Series:
    rise = w.between(0.5, 1.5) * (1 - np.exp(-w.h / w.between(0.5, 3)))
    return w.base * (1 + rise) + w.noise()


@family("N3_cache_fills", 0, "a cache fills in a straight line for hours, then is full")
def _cache_fills(w: World) -> Series:
    full = (w.limit - w.base) * w.between(0.25, 0.55)
    return w.warmup() + w.noise() + np.minimum(full, full / w.between(2, 6) * w.h)


@family("N4_gc_sawtooth", 0, "sawtooth of a collected heap on a constant floor")
def _gc_sawtooth(w: World) -> Series:
    return w.warmup() + w.sawtooth(w.base * w.between(0.5, 1.5), w.between(120, 5400)) + w.noise()


@family("N5_steps", 0, "one to four steps up as tools and models are first loaded")
def _steps(w: World) -> Series:
    out = w.warmup() + w.noise()
    for at in w.random.uniform(0.5, w.h[-1], int(w.random.integers(1, 5))):
        out = out + (w.h > at) * w.base * w.between(0.15, 0.6)
    return out


@family("N6_diurnal", 0, "memory follows a day and night load")
def _diurnal(w: World) -> Series:
    load = w.diurnal()
    w.tasks = np.cumsum(w.random.poisson((0.05 + load) * 40 / 3600 * w.dt))
    return w.warmup() + w.noise() + w.base * w.between(0.5, 1.5) * load


@family("N7_high_water", 0, "allocator ratchet: record tasks raise it, ever more rarely")
def _high_water(w: World) -> Series:
    hit = w.random.random(w.n) < w.dt / 3600 * w.between(6, 20)
    peak = hit * w.base * np.minimum(w.random.pareto(4.0, w.n), 1.8)
    return w.warmup() + w.noise() + np.maximum.accumulate(peak)


@family("N8_sessions", 0, "grows within a session and is released at its end")
def _sessions(w: World) -> Series:
    out = np.zeros(w.n)
    i = 0
    while i < w.n:
        k = max(2, int(w.between(0.4, 3.0) * 3600 / w.dt))
        j = min(w.n, i + k)
        out[i:j] = w.base * w.random.uniform(0.3, 1.2) * np.linspace(0, 1, k)[: j - i]
        i = j + int(w.between(0, 600) / w.dt)
    return w.warmup() + w.noise() + out


@family("N9_log_fragmentation", 0, "fragmentation, ever slower")
def _fragmentation(w: World) -> Series:
    flat = w.warmup() + w.noise()
    return flat + w.base * w.between(0.15, 0.35) * np.log1p(w.h / w.between(0.3, 1.5))


@family("N10_wander", 0, "mean-reverting walk over hours")
def _wander(w: World) -> Series:
    pull, spread = 1 / w.between(1.5, 5), w.base * w.between(0.08, 0.2)
    dt_h = w.dt / 3600
    shocks = w.random.normal(0, 1, w.n) * spread * np.sqrt(2 * pull * dt_h)
    out = np.zeros(w.n)
    for i in range(1, w.n):
        out[i] = out[i - 1] * (1 - pull * dt_h) + shocks[i]
    return w.warmup() + w.noise() + np.maximum(out, -0.5 * w.base)


@family("N11_reclaim", 0, "the kernel reclaims cold pages, and they come back")
def _reclaim(w: World) -> Series:
    share = np.ones(w.n)
    for at in w.random.uniform(0.5, w.h[-1], int(w.random.integers(2, 6))):
        dip, back = w.between(0.2, 0.5), w.between(0.5, 3.0)
        since = w.h - at
        share = share - (since > 0) * dip * np.exp(-np.maximum(since, 0) / back)
    return w.warmup() * np.maximum(share, 0.3) + w.noise()


@family("N12_helpers", 0, "helpers come and go, for minutes to hours")
def _helpers(w: World) -> Series:
    out = np.zeros(w.n)
    for at in w.random.uniform(0, w.h[-1], int(w.random.integers(6, 25))):
        lives = (w.h > at) & (w.h < at + w.random.exponential(0.5))
        out += lives * w.base * w.between(0.3, 1.0)
    return w.warmup() + w.noise() + np.minimum(out, (w.limit - w.base) * 0.6)


@family("N13_two_caches", 0, "two caches fill one after the other")
def _two_caches(w: World) -> Series:
    room = w.limit - w.base
    out = np.zeros(w.n)
    at = 0.0
    for _ in range(2):
        full, fill_h = room * w.between(0.12, 0.28), w.between(1, 4)
        out += np.clip((w.h - at) / fill_h, 0, 1) * full
        at += fill_h + w.between(2, 7)
    return w.warmup() + w.noise() + out


@family("N14_tight_limit", 0, "healthy, at 78-87 % of its limit")
def _tight_limit(w: World) -> Series:
    w.base = w.limit * w.between(0.78, 0.87)
    return w.warmup() + w.noise(0.003)


def chosen(wanted: str) -> list[str]:
    """Families of a comma-separated list such as `L1,N3`; all where it is empty."""
    words = [word for word in wanted.split(",") if word]
    return [
        name
        for name in FAMILIES
        if not words or any(name == word or name.startswith(f"{word}_") for word in words)
    ]


def make(
    name: str, seed: int, hours: float = 24.0, dt: float = 30.0
) -> tuple[Series, Series, Series, Label]:
    """Return time in s, memory in KiB, tasks done so far, and the label of one run."""
    shape, leak, what = FAMILIES[name]
    world = World(name, seed, hours, dt)
    rss = np.maximum(shape(world), FLOOR_KIB)
    if not leak:
        rss = np.minimum(rss, world.limit * 0.9)  # it never gets there, by definition
    over = np.nonzero(rss >= world.limit)[0]
    end = int(over[0]) + 1 if len(over) else world.n
    hour = min(max(2, int(3600 / dt)), end)
    rate = (rss[end - 1] - rss[end - hour]) / (hour * dt / 3600) if leak else 0.0
    label = Label(
        family=name,
        leak=leak,
        onset_s=round(world.onset_s) if leak else "",
        limit_kib=int(world.limit),
        t_limit_s=int(world.t[over[0]]) if len(over) else "",
        final_rate_kib_h=int(rate),
        what=what,
    )
    return world.t[:end], np.round(rss[:end]), world.tasks[:end], label


CONFIG = """\
[agents.{agent}]
command = ["true"]

[agents.{agent}.memory]
limit = "{limit_mib}M"
on_limit = "alert"
leak = "alert"
"""


def simulate_config(label: Label, agent: str = "a") -> str:
    """Return the config under which a run is simulated: alerts only, so nothing restarts."""
    return CONFIG.format(agent=agent, limit_mib=label.limit_kib // 1024)


def simulate_lines(
    t: Series, rss_kib: Series, tasks: Series, label: Label, beat_s: float = 30.0
) -> Iterator[dict[str, object]]:
    """One run as the lines of a trace: the limit, samples, a steady heartbeat, the end."""
    yield {"t": 0, "world": {"memory_limit": label.limit_kib * 1024}}
    beat, told = 0.0, 0
    for at, kib, done in zip(t.tolist(), rss_kib.tolist(), tasks.tolist(), strict=True):
        while beat <= at:
            line: dict[str, object] = {"status": "ok"}
            if done > told:
                line["successes"] = done - told
            yield {"t": round(beat, 1), "line": line}
            told, beat = done, beat + beat_s
        yield {"t": round(at, 1), "rss": int(kib) * 1024}
    yield {"t": round(float(t[-1]) + 1, 1), "end": True}


def _write(args: argparse.Namespace, name: str, seed: int) -> dict[str, object]:
    """Write one run, and return its row of labels.csv."""
    t, rss, tasks, label = make(name, seed, args.hours, args.dt)
    path = args.out / f"{name}_{seed:02d}.{'csv' if args.format == 'csv' else 'jsonl'}"
    if args.format == "csv":
        columns = np.column_stack([t, rss, tasks])
        np.savetxt(path, columns, fmt="%d", delimiter=",", header="t_s,rss_kib,tasks", comments="")
    else:
        with path.open("w", encoding="utf-8") as trace:
            trace.writelines(json.dumps(x) + "\n" for x in simulate_lines(t, rss, tasks, label))
        path.with_suffix(".toml").write_text(simulate_config(label), encoding="utf-8")
    return {"file": path.name, **asdict(label)}


def main() -> None:
    """Write the runs that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--format", choices=("csv", "simulate"), default="csv")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--dt", type=float, default=30.0, help="seconds between samples")
    parser.add_argument("--families", default="", help="comma-separated; L1,N3 are enough")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    rows = [_write(args, name, seed) for name in chosen(args.families) for seed in seeds]
    with (args.out / "labels.csv").open("w", newline="", encoding="utf-8") as labels:
        writer = csv.DictWriter(labels, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} runs in {args.out}, {sum(row['leak'] == 1 for row in rows)} of them leak")


if __name__ == "__main__":
    main()
