"""M4 in short: some of the soak with a seed of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.daemon.harness import PYTHON

ROOT = Path(__file__).parents[2]
MINUTES = "0.4"
SEED = "4"


@pytest.mark.slow
@pytest.mark.skipif("AGENTD_SOAK" not in os.environ, reason="takes minutes: AGENTD_SOAK=1")
@pytest.mark.timeout(600)  # what it waits for has bounds of its own, on a machine that is slow
def test_m4_half_a_minute_of_faults_leaves_every_promise_kept() -> None:
    words = [PYTHON, "tests/init.py", PYTHON, "-m", "tests.soak", "--minutes", MINUTES]
    done = subprocess.run(
        [*words, "--seed", SEED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
