"""What the link has on disk: written whole, again after a failure, and nobody waits for it."""

import threading
from pathlib import Path

import pytest

from agentd.fleet import durable, spending
from agentd.fleet.documents import Spent
from agentd.fleet.log import Log
from agentd.fleet.spending import SpendingFile
from tests.fleet.stand_ins import until

SPENT = {"one": Spent("2026-11-21", 1.5)}


def test_what_is_replaced_is_the_old_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    durable.replace(path, b"old")
    torn = tmp_path / "events.tmp"
    torn.touch(mode=0o600)
    torn.write_bytes(b"longer, of one that was killed")
    durable.replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


async def test_spending_that_could_not_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(spending, "WRITE_S", 0.0)
    file = SpendingFile(tmp_path / "fleet", Log())
    file.write(SPENT)
    await until(lambda: "fleet.spent_not_saved" in capfd.readouterr().err)
    (tmp_path / "fleet").mkdir()

    def is_there() -> bool:
        file.write(SPENT)  # as the link does: again and again
        return (tmp_path / "fleet" / "spent.json").exists()

    await until(is_there)
    assert SpendingFile(tmp_path / "fleet", Log()).read() == SPENT


async def test_a_disk_that_stands_still_is_waited_for_by_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "WRITE_S", 0.0)
    goes_on, begun = threading.Event(), []

    def stand_still(*written: object) -> None:
        begun.append(written)
        goes_on.wait(60)

    monkeypatch.setattr(durable, "replace", stand_still)
    file = SpendingFile(tmp_path, Log())
    for _ in range(100):
        file.write(SPENT)
    await until(lambda: begun)
    file.write(SPENT)
    assert len(begun) == 1
    goes_on.set()
    await until(lambda: file._written == SPENT)
