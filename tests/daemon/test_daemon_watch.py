"""Edits of the config are noticed when they are new, whole, and stand still."""

import threading
from pathlib import Path

import pytest

from agentd.daemon import watch
from agentd.daemon.watch import ConfigWatch, fingerprint


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    (tmp_path / "agents.d").mkdir()
    (tmp_path / "agentd.toml").write_text("[daemon]\n")
    (tmp_path / "agents.d" / "a.toml").write_text('command = "a"\n')
    return [tmp_path / "agentd.toml", tmp_path / "agents.d"]


def test_only_content_counts(places: list[Path]) -> None:
    before = fingerprint(places)
    places[0].write_text("[daemon]\n")
    places[1].touch()
    (places[1] / ".a.toml.swp").write_text("x")
    (places[1] / ".hidden.toml").write_text("x")
    (places[1] / "a.toml~").write_text("x")
    assert fingerprint(places) == before
    (places[1] / "b.toml").write_text('command = "b"\n')
    assert fingerprint(places).digest != before.digest


def test_j1_an_empty_file_is_not_whole(places: list[Path]) -> None:
    assert fingerprint(places).whole
    places[0].write_text("")
    assert not fingerprint(places).whole


def test_j1_a_truncated_file_is_waited_out(
    places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STABLE_S", 0.02)
    called = threading.Event()
    observed = ConfigWatch(places, called.set)
    path = places[1] / "a.toml"
    path.write_text("")
    back = threading.Timer(0.1, path.write_text, ['command = "a"\n'])
    back.start()
    observed._look()
    back.join()
    assert not called.is_set(), "it is again what it was"
    path.write_text('command = "other"\n')
    observed._look()
    assert called.is_set()


def test_a_watch_without_a_thread_does_not_call_itself_begun(
    places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    observed = ConfigWatch(places, lambda: None)
    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", refused)
        assert not observed.start()
    assert observed.places != places, "the next reload tries again"


def test_an_atomic_rename_and_a_directory_that_comes_later_are_noticed(tmp_path: Path) -> None:
    main, folder = tmp_path / "agentd.toml", tmp_path / "agents.d"
    main.write_text("[daemon]\n")
    called = threading.Semaphore(0)
    observed = ConfigWatch([main, folder], called.release)
    observed.start()
    try:
        # The watch begins in its thread: repeat the edit until it was seen.
        for number in range(50):
            fresh = tmp_path / "fresh"
            fresh.write_text(f"[daemon]\nconnections_max = {number + 1}\n")
            fresh.replace(main)
            if called.acquire(timeout=0.2):
                break
        else:
            pytest.fail("a rename was never noticed")
        folder.mkdir()
        for number in range(50):
            (folder / "a.toml").write_text(f'command = "{number}"\n')
            if called.acquire(timeout=0.2):
                return
        pytest.fail("a new directory was never noticed")
    finally:
        observed.stop()
