"""Recorded agent runs as `agentd simulate` traces of step lines, with loops put in on request.

    python bench/steps_traces.py OUT_DIR --data mini|tau [--records DIR] [--family exact]

Writes OUT_DIR/RUN.jsonl a run, and one OUT_DIR/agentd.toml that fits them all. Without
--family a run is as it was recorded; with it, LOOP_STEPS steps of that loop follow a random
step of it. The recordings are no part of this repository: --records, or the variable
AGENTD_BENCH_RECORDS, names the folder that holds them.

A step line carries fingerprints of arguments and output (16 hex digits of SHA-256), raw and
normalised (UUIDs, timestamps, hex runs and numbers become `#`, white space one blank), their
lengths, and up to 64 hashes of their distinct normalised lines. The records keep the first
600 characters of the arguments and the first 500 and last 200 of the output, so that is what
is normalised; the raw fingerprints are of the whole.
"""

import argparse
import gzip
import hashlib
import json
import os
import random
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

RECORDS_VARIABLE = "AGENTD_BENCH_RECORDS"
DATA = {
    "mini": "mini_swe_agent_gemini3_500.jsonl.gz",
    "tau": "tau_bench_gpt4o_airline_200.jsonl.gz",
}
LOOP_STEPS = 30
LINES_MAX = 64
NOTHING_FOUND = "Nothing was found. Please try another query; the manual explains how to write one."

Step = dict[str, Any]
Run = dict[str, Any]
Line = dict[str, Any]

VOLATILE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # a UUID
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"  # a timestamp
    r"|0x[0-9a-f]+|[0-9a-f]{8,}"  # hex
    r"|\d+(?:\.\d+)?",  # a number
    re.IGNORECASE,
)
SPACE = re.compile(r"\s+")


def normalise(text: str) -> str:
    """Put `#` for whatever changes from one call to the next."""
    return SPACE.sub(" ", VOLATILE.sub("#", text)).strip()


def fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def line_hashes(args: str, out: str) -> list[str]:
    """Hashes of the distinct normalised lines that aren't empty, the arguments' first."""
    lines = dict.fromkeys(
        line for text in (args, out) for line in map(normalise, text.splitlines()) if line
    )
    return [fingerprint(line) for line in list(lines)[:LINES_MAX]]


def add_records_option(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get(RECORDS_VARIABLE)
    parser.add_argument(
        "--records",
        type=Path,
        default=Path(default) if default else None,
        help=f"folder of the recorded runs; default: ${RECORDS_VARIABLE}",
    )


def load(which: str, records: Path | None) -> list[Run]:
    """Read one set of recorded runs; where there is none, say what to do, and end."""
    if records is None:
        told = "the recorded runs are not here: name their folder by"
        sys.exit(f"{told} --records or ${RECORDS_VARIABLE}")
    file = records / DATA[which]
    if not file.exists():
        sys.exit(f"{file}: no such file; --records names the folder that holds it")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def good(run: Run) -> bool:
    """Whether the run solved its task; such a run must never be stopped."""
    if "label_resolved" in run:
        return bool(run["label_resolved"])
    return run["label_reward"] == 1


def step_line(number: int, step: Step) -> Line:
    args, out, ok = step["args"], step["out"] or "", step.get("rc") in (0, None)
    return {
        "type": "step",
        "step": number,
        "tool": step["tool"],
        "args_fp": step["args_h"],
        "args_nfp": fingerprint(normalise(args)),
        "args_len": step.get("args_len", len(args)),
        "out_fp": step["out_h"] or fingerprint(""),
        "out_nfp": fingerprint(normalise(out)),
        "out_len": step["out_len"],
        "lines": line_hashes(args, out),
        "ok": ok,
        "error": None if ok else f"exit {step['rc']}",
        "poll": False,
    }


def config(agents: Iterable[str]) -> str:
    """One table an agent; verdicts only alert, so that none changes the rest of the trace."""
    return "".join(
        f"[agents.{agent}]\n"
        'command = ["true"]\n'
        'ready = "spawn"\n'
        "heartbeat.required = false\n"
        'restart.policy = "never"\n'
        'loop.on_loop = "alert"\n\n'
        for agent in agents
    )


def trace(
    steps: Sequence[Step], agent: str | None = None, gap_s: float = 8.0
) -> tuple[list[Line], list[float]]:
    """Return the lines of a trace, and the time of each step in s."""
    who = {"agent": agent} if agent else {}
    lines: list[Line] = []
    times: list[float] = []
    t, before = 1.0, None
    for number, step in enumerate(steps):
        at = step.get("t")
        t += min(600.0, max(1.0, at - before)) if at and before else gap_s
        before = at
        lines.append({"t": t, **who, "line": step_line(number, step)})
        times.append(t)
    lines.append({"t": t + 5, **who, "exit": {"code": 0}})
    return lines, times


def _like(step: Step, args: str | None = None, out: str | None = None) -> Step:
    """Return a step like this one, that succeeds."""
    step = {**step, "rc": 0, "t": None}
    if args is not None:
        step |= {"args": args[:600], "args_h": fingerprint(args), "args_len": len(args)}
    if out is not None:
        step |= {"out": out[:700], "out_h": fingerprint(out), "out_len": len(out)}
    return step


def _clock(step: Step, i: int) -> str:
    shown, at = (step["out"] or "")[:300], f"2026-11-21T01:{i % 60:02d}:07Z"
    return f"{shown}\ntook {i * 1.37 + 0.2:.3f}s at {at} pid {4000 + i * 7}"


def _long(step: Step) -> str:
    out = step["out"] or ""
    return out if len(out) >= 80 else out + "x" * 90


def _limited(step: Step, i: int) -> str:
    return f"{step['args'][:560]} --limit {100 + i}"


def _grown(step: Step, i: int) -> Step:
    args = step["args"] + ("\n" + step["args"][:200]) * (i + 1)
    return _like(step, args=args, out=((step["out"] or "")[:200] + "\n") * (i + 2))


# The i-th step of a loop: a is the step that repeats, b and c are earlier ones.
LoopStep = Callable[[int, Step, Step, Step, list[Step]], Step]
FAMILIES: dict[str, tuple[str, LoopStep]] = {
    "exact": ("the same call, the same answer", lambda _i, a, _b, _c, _f: _like(a)),
    "reworded": (
        "the same call under new words of reasoning",
        lambda i, a, _b, _c, _f: {**_like(a), "thought": f"Once more ({i})"},
    ),
    "cycle2": ("two calls in turn", lambda i, a, b, _c, _f: _like((b, a)[i % 2])),
    "cycle3": ("three calls in turn", lambda i, a, b, c, _f: _like((c, b, a)[i % 3])),
    "clock": (
        "the same call; the answer holds a time, a duration, a pid",
        lambda i, a, _b, _c, _f: _like(a, out=_clock(a, i)),
    ),
    "drift": (
        "a number in the arguments changes, the answer does not",
        lambda i, a, _b, _c, _f: _like(a, args=_limited(a, i), out=_long(a)),
    ),
    "drift_clock": (
        "both",
        lambda i, a, _b, _c, _f: _like(a, args=_limited(a, i), out=_clock(a, i)),
    ),
    "growing": ("arguments and answer grow by themselves", lambda i, a, _b, _c, _f: _grown(a, i)),
    "interleaved": (
        "every other step is the same call, between fresh ones",
        lambda i, a, _b, _c, fresh: _like(a if i % 2 == 0 else fresh[i]),
    ),
    "noisy": (
        "the same call, every third step a fresh one",
        lambda i, a, _b, _c, fresh: _like(fresh[i] if i % 3 == 2 else a),
    ),
    "noisy_clock": (
        "the same, and the answer holds a time, a duration, a pid",
        lambda i, a, _b, _c, fresh: _like(fresh[i]) if i % 3 == 2 else _like(a, out=_clock(a, i)),
    ),
    "faltering": (
        "the same call and answer, every other time said to have failed",
        lambda i, a, _b, _c, _f: {**_like(a), "rc": i % 2},
    ),
    "same_answer": (
        "ever new calls, all answered by the same text",
        lambda i, _a, _b, _c, fresh: _like(fresh[i], out=NOTHING_FOUND),
    ),
    "circle5": (
        "five calls in turn",
        lambda i, a, b, c, fresh: _like((c, b, a, *fresh[:2])[i % 5]),
    ),
    "circle7": (
        "seven calls in turn",
        lambda i, a, b, c, fresh: _like((c, b, a, *fresh[:4])[i % 7]),
    ),
    "grind": ("control: fresh steps only", lambda i, _a, _b, _c, fresh: _like(fresh[i])),
}


def inject(run: Run, family: str, seed: int, pool: Sequence[Run]) -> tuple[list[Step], int]:
    """Return the run's steps with a loop after one of them, and where the loop begins."""
    chance = random.Random(f"{family}/{seed}/{run['id']}")
    steps: list[Step] = run["steps"]
    fits = [
        i
        for i in range(6, len(steps) - 1)
        if len({steps[j]["args_h"] for j in (i, i - 1, i - 3)}) == 3
    ]
    at = chance.choice(fits or [len(steps) - 1])
    a, b, c = steps[at], steps[at - 1], steps[at - 3]
    others = chance.sample([other for other in pool if other is not run], 6)
    fresh = [step for other in others for step in other["steps"]]
    chance.shuffle(fresh)
    make = FAMILIES[family][1]
    return steps[: at + 1] + [make(i, a, b, c, fresh) for i in range(LOOP_STEPS)], at + 1


def main() -> None:
    """Write the runs that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    add_records_option(parser)
    parser.add_argument("--data", choices=list(DATA), default="mini")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--family", choices=list(FAMILIES))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    runs = load(args.data, args.records)
    args.out.mkdir(parents=True, exist_ok=True)
    for run in runs[args.first : args.first + args.count]:
        steps = inject(run, args.family, args.seed, runs)[0] if args.family else run["steps"]
        lines, _ = trace(steps)
        lines.append({"t": lines[-1]["t"] + 1, "end": True})
        name = re.sub(r"[^a-z0-9_-]", "-", run["id"].lower())
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (args.out / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (args.out / "agentd.toml").write_text(config(["a"]), encoding="utf-8")


if __name__ == "__main__":
    main()
