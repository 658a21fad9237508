"""The power is cut right after each fdatasync of the store: what was acknowledged by then is there.

The writer is stopped when the call has returned, and its files are copied twice: as they are,
and as a disk may have them that wrote nothing but what it was told to, each file with what was
in it at its own last fdatasync. A store is opened on both copies.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import pytest

from tests.crash.points import STRIDE, TABLE, Tally, as_rows
from tests.crash.tracing import STRACE
from tests.daemon.harness import PYTHON, WAIT_S
from tests.store.test_crash import ROOT, acknowledged, expect_kept

# As many rows as fold the log into the file (512 pages), or a few of them in `make test`.
GROUPS: Final = 60 if STRIDE == 1 else 4
NAME: Final = "agentd.db"
_SYNCED: Final = re.compile(r"^(\d+) +fdatasync\(\d+<([^>]+)>\) = 0$", re.MULTILINE)


class Scribe:
    """A writer of groups that stands still after each fdatasync."""

    def __init__(self, root: Path) -> None:
        assert STRACE is not None
        self.state = root / "state"
        self._log, self._said = root / "trace", root / "said"
        words = [STRACE, "-f", "-y", "-o", str(self._log), "-e", "trace=fdatasync"]
        words += ["-e", "inject=fdatasync:signal=SIGSTOP"]
        words += [PYTHON, "-u", "-m", "tests.store.programs.scribe", str(self.state), str(GROUPS)]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(words, stdout=said, cwd=ROOT)
        self._seen = 0
        self._tid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        if self._tid:
            os.kill(self._tid, signal.SIGKILL)
        self._process.wait(WAIT_S)

    def synced(self) -> Path | None:
        """Wait until it stands still again; the file it has synced, None: it has ended."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            text = self._log.read_text() if self._log.exists() else ""
            found = list(_SYNCED.finditer(text))
            if len(found) > self._seen:
                tid = found[self._seen][1]
                after = text[found[self._seen].end() :]
                if re.search(rf"^{tid} +--- stopped by", after, re.MULTILINE):  # ids are padded
                    self._tid = int(tid)
                    return Path(found[self._seen][2])
            if self._process.poll() is not None:
                self._tid = 0
                return None
            time.sleep(0.005)
        raise AssertionError(f"neither synced nor ended: {self._log.read_text()[-2000:]}")

    def go_on(self) -> None:
        self._seen += 1
        os.kill(self._tid, signal.SIGCONT)

    def said(self) -> str:
        return self._said.read_text()


def keep_synced(synced: Path, kept: Path) -> None:
    """Have in `kept` what is safe now: the content of a file, or that others are gone."""
    kept.mkdir(mode=0o700, exist_ok=True)
    if synced.is_file():
        shutil.copy(synced, kept / synced.name)
        return
    for file in kept.iterdir():
        if not (synced / file.name).exists():
            file.unlink()


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.timeout(600)
def test_g2_power_is_cut_after_each_fdatasync_of_the_store(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    tally = Tally("store", "power cut", "fdatasync")
    (tmp_path / "state").mkdir(mode=0o700)
    kept = tmp_path / "kept"
    with Scribe(tmp_path) as scribe:
        while (file := scribe.synced()) is not None:
            keep_synced(file, kept)
            said = scribe.said()
            for source in (scribe.state, kept):
                begun = time.monotonic()
                recover(source, tmp_path / "copy", said)
                tally.add(time.monotonic() - begun)
            scribe.go_on()
        said = scribe.said()
    assert acknowledged(said)[1] == GROUPS, said[-500:]
    assert tally.points > 2 * GROUPS
    record_property(TABLE, as_rows([tally]))


def recover(source: Path, copy: Path, said: str) -> None:
    """Open a store on a copy, and look for all that was acknowledged."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy)
    copy.chmod(0o700)
    (copy / f"{NAME}-shm").unlink(missing_ok=True)  # memory that other processes share, no file
    expect_kept(copy, said)
