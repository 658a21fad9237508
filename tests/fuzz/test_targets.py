"""Every target for a moment, from a seed that stays; and what was found before, once more."""

from pathlib import Path

import pytest

from tests.fuzz.runs import Run
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

SEED = "agentd"
# Some seconds in all: `make fuzz` is the long form.
INPUTS = 60
SEEDS = Path(__file__).parent / "seeds"


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_moment_of_fuzzing_finds_nothing(target: Target) -> None:
    run = Run(target, SEED)
    for _ in range(INPUTS):
        run.one(f"{SEED}-{target.name}-{run.inputs}")
    assert not run.finds, "\n".join(f"{find.data[:200]!r}\n{find.told}" for find in run.finds)
    assert len(run.outcome) > 1, "all came out the same: the inputs are too much alike"


@pytest.mark.parametrize("kept", sorted(SEEDS.iterdir()), ids=lambda path: path.name)
def test_what_was_found_once_is_not_found_again(kept: Path) -> None:
    TARGETS[kept.name.split("-")[0]].check(kept.read_bytes())
