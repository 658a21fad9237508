"""`status --check` and `fleet status --check`: where nothing is known, a monitor reads UNKNOWN."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Result

Ctl = Callable[..., Result]

NO_SERVERS = '[fleet]\nname = "a"\n'
BROKEN = "[fleet]\nnats = 3\n"
NOBODY = '[fleet]\nname = "a"\nnats = ["nats://127.0.0.1:1"]\n'


def no_extra(_name: str) -> None:
    return None


@pytest.mark.parametrize("table", [NO_SERVERS, BROKEN, NOBODY], ids=["none", "broken", "nobody"])
def test_a_fleet_of_which_nothing_is_known_is_unknown_to_a_monitor(
    ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setenv("AGENTD_CONFIG", str(tmp_path / "agentd.toml"))
    (tmp_path / "agentd.toml").write_text(table)
    assert ctl("fleet", "status")[0] in {1, 7}
    code, out, err = ctl("fleet", "status", "--check")
    assert (code, err) == (3, "")
    assert out.startswith("agentd UNKNOWN: ")
    assert out.count("\n") == 1


def test_a_fleet_without_its_extra_is_unknown_to_a_monitor(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.cli.remote.nats.find_spec", no_extra)
    code, out, err = ctl("fleet", "status", "--check")
    assert (code, out, err) == (3, "agentd UNKNOWN: commands over NATS need nats-py\n", "")


@pytest.mark.parametrize("words", [("status",), ("fleet", "status")], ids=" ".join)
def test_what_is_not_known_is_no_line_of_text_among_json(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("agentd.cli.remote.nats.find_spec", no_extra)
    assert ctl(*words, "--check", "--json") == (3, "", "")
    code, out, err = ctl(*words, "--check")
    assert (code, err) == (3, "")
    assert out.startswith("agentd UNKNOWN: ")
