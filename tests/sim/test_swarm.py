"""The simulator: no seed breaks an invariant, no planted bug survives, no rare branch is missed.

What a seed once found has its own test in tests/simulate/test_found.py: seeds draw other worlds
as soon as worlds hold more.
"""

import os
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.sim.catalogue import SEEN, UNSEEN
from tests.sim.hints import SEEDS_MAX, search
from tests.sim.invariants import HELD_ELSEWHERE
from tests.sim.mutants import MUTANTS
from tests.sim.nightly import WORLDS_ENOUGH, run, verdict
from tests.sim.reach import NEVER, arrow, wanted
from tests.sim.swarm import Swarm
from tests.test_faults_doc import IDS

ROOT = Path(__file__).parents[2]
SEEDS = 1_000
CHUNK = 20
INVARIANTS = 14


@pytest.mark.timeout(1_800)  # all cores; a minute of both where nothing else runs
def test_a_thousand_worlds_hold_their_invariants_and_reach_every_rare_branch() -> None:
    sometimes: Counter[str] = Counter()
    broken: dict[int, str] = {}
    chunks = [list(range(first, first + CHUNK)) for first in range(0, SEEDS, CHUNK)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for reached, failed in pool.map(run, chunks):
            sometimes += reached
            broken |= failed
    assert broken == {}, "make sim SEED=n tells the story"
    assert [name for name in wanted() if not sometimes[name]] == []
    met = {fault: [name for name in names if not sometimes[name]] for fault, names in SEEN.items()}
    assert {fault: missed for fault, missed in met.items() if missed} == {}
    taken = [arrow(*each) for each in NEVER if sometimes[arrow(*each)]]
    assert taken == [], "the reason why it never happens is wrong"


def test_a_night_fails_by_a_broken_world_and_by_a_branch_that_enough_worlds_missed() -> None:
    assert verdict(WORLDS_ENOUGH, [], {}) == 0
    assert verdict(1, [], {7: "Broken"}) == 1
    assert verdict(WORLDS_ENOUGH - 1, ["a branch"], {}) == 0
    assert verdict(WORLDS_ENOUGH, ["a branch"], {}) == 1


def test_each_fault_of_the_catalogue_is_met_or_has_a_reason() -> None:
    assert sorted([*SEEN, *UNSEEN]) == sorted(IDS)


def test_each_invariant_is_held_here_or_says_where() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py")
    )
    held = {f"INV{number}" for number in re.findall(r'Broken\(f?"INV(\d+) ', source)}
    every = {f"INV{number}" for number in range(1, INVARIANTS + 1)}
    assert every - held - HELD_ELSEWHERE.keys() == set()
    paths = [path for _, *found in HELD_ELSEWHERE.values() for path in found]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_same_seed_tells_the_same_story() -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        Swarm(7, story.append).run()
    assert stories[0] == stories[1]
    assert stories[0]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    assert search(name) is not None, f"not found in {SEEDS_MAX} worlds"
