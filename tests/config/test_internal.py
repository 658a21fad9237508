"""Which internal agents a config asks for, and what is said of what they need."""

from pathlib import Path

import pytest

from agentd.config import internal, network_checks
from agentd.config.diff import plan
from agentd.config.internal import internal_agents, with_internal
from agentd.config.names import FLEET_AGENT, HTTP_AGENT, INTERNAL
from agentd.config.schema import Config, FleetBudgetConfig, FleetConfig, HttpConfig
from agentd.config.units import MicroDollars
from tests.config.conftest import Read

HTTP = '[http]\nlisten = "127.0.0.1:8484"\n'
FLEET = '[fleet]\nnats = ["tls://nats.example:4222"]\nname = "here"\n'
FILE = Path("/etc/agentd/agentd.toml")


def made(http: HttpConfig | None = None, fleet: FleetConfig | None = None) -> Config:
    config = Config(http=http or HttpConfig(), fleet=fleet or FleetConfig())
    return Config(http=config.http, fleet=config.fleet, agents=internal_agents(config, FILE))


ON = HttpConfig(listen="127.0.0.1:0")
LINKED = FleetConfig(nats=["nats://h:1"], name="here")


def test_each_table_asks_for_its_own_agent_and_none_for_both() -> None:
    assert made().agents == {}
    assert list(made(ON).agents) == [HTTP_AGENT]
    assert list(made(fleet=LINKED).agents) == [FLEET_AGENT]
    assert made(ON, LINKED).agents.keys() == INTERNAL


def test_one_is_told_where_the_config_is_and_runs_as_the_daemon_does() -> None:
    agent = made(ON).agents[HTTP_AGENT]
    assert agent.command[-4:] == ["-m", "agentd.http", "--config", str(FILE)]
    assert (agent.user, agent.ready_by, agent.heartbeat.required) == ("", "notify", False)
    assert agent.restart.policy == "always"
    assert agent.restart.cooldown_max_ms <= 60_000


@pytest.mark.parametrize(
    ("http", "fleet", "restarted"),
    [
        (ON, LINKED, []),
        (HttpConfig(listen="127.0.0.1:0", metrics_public=False), LINKED, [HTTP_AGENT]),
        # The dashboard shows all hosts, so what links them is its matter, too.
        (ON, FleetConfig(nats=["nats://h:2"], name="here"), [FLEET_AGENT, HTTP_AGENT]),
        # Names for ssh and the budget over all hosts are no matter of either.
        (ON, FleetConfig(nats=["nats://h:1"], name="here", hosts={"a": "b"}), []),
        (
            ON,
            FleetConfig(
                nats=["nats://h:1"],
                name="here",
                budget=FleetBudgetConfig(usd_per_day_micros=MicroDollars(1)),
            ),
            [],
        ),
    ],
)
def test_a_change_of_what_it_reads_restarts_it(
    http: HttpConfig, fleet: FleetConfig, restarted: list[str]
) -> None:
    found = plan(made(ON, LINKED), made(http, fleet))
    assert [change.agent for change in found.restarted] == restarted
    assert not found.applied


def test_nobodys_agent_may_have_their_names(read: Read) -> None:
    for name in INTERNAL:
        loaded = read(f'[agents.{name}]\ncommand = ["x"]\n')
        assert "internal agent" in loaded.errors[0].message


def test_they_are_agents_of_the_daemon_and_not_of_the_files(read: Read, tmp_path: Path) -> None:
    loaded = read(HTTP + FLEET)
    assert not loaded.config.agents
    assert with_internal(loaded, tmp_path / "agentd.toml").config.agents.keys() == INTERNAL


def test_a_missing_extra_is_told_with_its_line(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internal, "_NEEDED", {"http": ("sys", "no_such"), "fleet": ("sys",)})
    found = [one for one in read(HTTP + FLEET).warnings if one.key.startswith("http")]
    assert [(one.line, one.key, one.message, one.hint) for one in found] == [
        (2, "http.listen", "needs no_such", "pip install 'agentd-supervisor[http]'")
    ]
    assert not [one for one in read("").warnings if "no_such" in one.message]


@pytest.mark.parametrize(
    ("table", "key", "until_then"),
    [
        (f'{HTTP}token_file = "secret"\n', "http.token_file", "the dashboard does not start"),
        (
            f'{HTTP}tls_cert = "c"\ntls_key = "secret"\n',
            *("http.tls_key", "the dashboard does not start"),
        ),
        (
            f'{FLEET}credentials_file = "secret"\n',
            *("fleet.credentials_file", "this host is not in the fleet"),
        ),
    ],
)
def test_a_file_of_theirs_that_is_missing_or_open_is_told(
    read: Read, tmp_path: Path, table: str, key: str, until_then: str
) -> None:
    def warned() -> list[tuple[str, str]]:
        return [(one.message, one.hint) for one in read(table).warnings if one.key == key]

    assert [until_then in hint for _, hint in warned()] == [True]
    file = tmp_path / "secret"
    file.write_text("0123456789abcdef\n")
    file.chmod(0o644)
    assert warned() == [("others may read or change the secret in this file", f"chmod 600 {file}")]
    file.chmod(0o600)
    assert warned() == []


def test_a_password_in_the_address_of_a_server_is_told(read: Read) -> None:
    loaded = read('[fleet]\nname = "here"\nnats = ["tls://ada:secret@h:4222"]\n')
    assert [one.key for one in loaded.warnings] == ["fleet.nats[0]"]
    assert "secret" not in loaded.warnings[0].text().replace("looks like a secret", "")


def test_a_host_whose_name_is_none_for_a_fleet_has_to_be_named(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_checks.socket, "gethostname", lambda: "....")
    unnamed = '[fleet]\nnats = ["tls://h:4222"]\n'
    found = read(unnamed).errors
    assert [(one.line, one.key) for one in found] == [(2, "fleet.nats")]
    assert "set fleet.name" in found[0].hint
    assert not read(FLEET).errors
    monkeypatch.setattr(network_checks.socket, "gethostname", lambda: "machine-3.example.org")
    assert not read(unnamed).errors
