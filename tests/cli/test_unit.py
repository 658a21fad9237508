"""The systemd unit: contrib holds what `agentd unit` prints, and the traps stay avoided."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentd.cli.commands_agentd import unit
from agentd.cli.systemd_unit import quoted, unit_text

CONTRIB = Path(__file__).parents[2] / "contrib" / "systemd"
STANDARD = "/usr/local/bin/agentd start"
USER_VARIANT = "agentd"


def directives(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.replace("\\\n", "").splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize(
    ("name", "user"), [("agentd.service", None), ("agentd-user.service", USER_VARIANT)]
)
def test_contrib_holds_what_the_command_prints(name: str, user: str | None) -> None:
    assert (CONTRIB / name).read_text() == unit_text(STANDARD, user), (
        f"contrib/systemd/{name} is stale: run `make docs`"
    )


@pytest.mark.parametrize("user", [None, USER_VARIANT])
def test_agents_live_outside_the_unit_that_restarts(user: str | None) -> None:
    # In a delegated group of its own, systemd 252 can't start the daemon again: 219/CGROUP.
    unit_of = directives(unit_text(STANDARD, user))
    assert "Delegate" not in unit_of
    assert unit_of["Environment"] == ["AGENTD_CGROUP=../agentd-agents.service"]
    assert "-p Delegate=yes" in unit_of["ExecStartPre"][0]


@pytest.mark.parametrize("user", [None, USER_VARIANT])
def test_a_crash_takes_no_agent_along_and_is_never_the_last(user: str | None) -> None:
    unit_of = directives(unit_text(STANDARD, user))
    assert unit_of["KillMode"] == ["process"]
    assert unit_of["Restart"] == ["always"]
    assert unit_of["StartLimitIntervalSec"] == ["0"]
    assert unit_of["RuntimeDirectoryPreserve"] == ["restart"]


def test_only_the_unit_without_a_user_has_privileges() -> None:
    root, user = (directives(unit_text(STANDARD, name)) for name in (None, USER_VARIANT))
    assert "User" not in root
    assert len(root["CapabilityBoundingSet"][0].split()) == 8
    assert user["User"] == [USER_VARIANT]
    assert user["CapabilityBoundingSet"] == [""]


def test_the_printed_unit_calls_the_script_that_printed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "with space" / "agentd"
    script.parent.mkdir()
    script.touch()
    monkeypatch.setattr(sys, "argv", [str(script), "unit"])
    printed = CliRunner().invoke(unit.command, [])
    assert printed.exit_code == 0
    assert directives(printed.stdout)["ExecStart"] == [f'"{script}" start']


@pytest.mark.parametrize("name", ["a b", "x\nExecStartPre=/bin/sh", "", "-p"])
def test_l6_a_user_name_cannot_smuggle_a_second_line(name: str) -> None:
    printed = CliRunner().invoke(unit.command, [f"--user={name}"])
    assert printed.exit_code == 2
    assert not printed.stdout


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/usr/bin/agentd", "/usr/bin/agentd"),
        ("/opt/my tools/agentd", '"/opt/my tools/agentd"'),
        ("/opt/100%/agentd", "/opt/100%%/agentd"),  # a single one starts a specifier
        ("/opt/$x/agentd", "/opt/$$x/agentd"),
        ('/opt/"/agentd', '"/opt/\\"/agentd"'),
    ],
)
def test_a_path_is_read_back_by_systemd_as_it_was(word: str, expected: str) -> None:
    assert quoted(word) == expected
