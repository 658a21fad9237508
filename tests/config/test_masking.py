import json
from pathlib import Path

import pytest

from agentd.config.masking import secrets_of, show, shown_command
from agentd.config.secrets import is_secret, is_secret_name, is_secret_value
from tests.config.conftest import Read

CANARY = "canary-5f2a9c"


def test_show_names_value_and_origin_of_every_option(read: Read, tmp_path: Path) -> None:
    loaded = read(
        '[defaults]\nnice = 5\n[defaults.restart]\ncooldown = "90s"\n',
        a='command = ["x"]\n[memory]\nlimit = "1024M"\n[budget]\nusd_per_day = 2.5\n',
    )
    shown = show(loaded, ["a"])["agents"]["a"]
    main, own = tmp_path / "agentd.toml", tmp_path / "agents.d/a.toml"
    assert shown["command"] == {"value": ["x"], "origin": f"{own}:1"}
    assert shown["memory.limit"] == {"value": "1G", "origin": f"{own}:3"}
    assert shown["budget.usd_per_day"] == {"value": 2.5, "origin": f"{own}:5"}
    assert shown["nice"] == {"value": 5, "origin": f"{main}:2"}
    assert shown["restart.cooldown"] == {"value": "1m30s", "origin": f"{main}:4"}
    assert shown["restart.cooldown_max"] == {"value": "1h", "origin": "default"}
    assert shown["heartbeat.degraded_after"] == {"value": "1m30s", "origin": "default"}
    assert shown["ready"] == {"value": "heartbeat", "origin": "default"}


def test_l7_show_masks_every_variable(read: Read, tmp_path: Path) -> None:
    (tmp_path / "agents.d").mkdir()
    env = tmp_path / "agents.d/a.env"
    env.write_text(f"\nFROM_FILE={CANARY}\n")
    loaded = read(
        f'[defaults.environment]\nINHERITED = "{CANARY}"\n',
        a=f'command = ["x", "--api-key={CANARY}", "--token", "{CANARY}"]\n'
        f'environment_files = ["a.env"]\n[environment]\nOWN = "{CANARY}"\n',
    )
    shown = show(loaded)["agents"]["a"]
    assert CANARY not in json.dumps(shown)
    assert CANARY not in repr(loaded.environment_origins)
    masked = f"({len(CANARY)} characters)"
    assert shown["environment.FROM_FILE"] == {"value": masked, "origin": f"{env}:2"}
    assert shown["environment.OWN"]["origin"] == f"{tmp_path}/agents.d/a.toml:4"
    assert shown["environment.INHERITED"]["origin"] == f"{tmp_path}/agentd.toml:2"
    assert shown["command"]["value"] == ["x", f"--api-key={masked}", "--token", masked]


def test_j10_a_secret_in_the_config_is_warned_of(read: Read) -> None:
    loaded = read(
        f'[[alerts.sinks]]\nname = "ops"\ntype = "slack"\nurl = "https://hooks.example/{CANARY}"\n',
        a=f'command = ["x", "--api-key={CANARY}"]\n'
        f'[environment]\nREGION = "eu"\nOPENAI_API_KEY = "{CANARY}"\nMAX_TOKENS = "900"\n',
    )
    assert loaded.errors == []
    assert [(warning.key, warning.line) for warning in loaded.warnings] == [
        ("alerts.sinks[0].url", 4),
        ("agents.a.command[1]", 1),
        ("agents.a.environment.OPENAI_API_KEY", 4),
    ]
    hints = [warning.hint for warning in loaded.warnings]
    assert "url_file" in hints[0]
    assert "environment_files" in hints[2]
    assert CANARY not in repr(loaded.warnings)


def test_declared_secrets_are_known_to_whoever_redacts(read: Read, tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text(f"DB_PASSWORD={CANARY}\nREGION=eu-central\n")
    loaded = read('[agents.a]\ncommand = "x"\nenvironment_files = ["a.env"]\n')
    assert secrets_of(loaded) == {CANARY}


def test_l7_what_is_secret_on_a_command_line_is_known_to_whoever_redacts(read: Read) -> None:
    loaded = read(
        '[[alerts.sinks]]\nname = "s"\ntype = "command"\ncommand = "x --token of-a-sink"\n',
        a='command = "x --api-key=of-the-agent --region=eu"\n'
        'judge = { command = ["x", "--token", "of-judge=="] }\n'
        "[restart]\nvalidate = \"x --password 'of-validate'\"\n"
        'on_escalate = ["x", "postgres://a:of-escalate@db/x?a=b"]\n',
    )
    assert secrets_of(loaded) == {
        *("of-a-sink", "of-the-agent", "of-judge==", "of-validate"),
        "postgres://a:of-escalate@db/x?a=b",
    }


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["x", "--token", "aGVsbG8=="], ["x", "--token", "(9 characters)"]),
        (["x", "postgres://ada:pw@db/x?ssl=1"], ["x", "(28 characters)"]),
        (["x", "--dsn=postgres://ada:pw@db/x?ssl=1"], ["x", "--dsn=(28 characters)"]),
        (["x", "API_KEY=a=b"], ["x", "API_KEY=(3 characters)"]),
    ],
)
def test_l7_no_part_of_a_secret_word_is_taken_for_its_name(
    words: list[str], shown: list[str]
) -> None:
    assert shown_command(words) == shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("OPENAI_API_KEY", True),
        ("apiKey", True),
        ("DB_PASSWORD", True),
        ("GITHUB_TOKEN", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("SENTRY_DSN", True),
        ("KEY", False),
        ("MONKEY", False),
        ("MAX_TOKENS", False),
        ("TOKEN_FILE", False),
        ("TOKEN_LIMIT", False),
        ("AUTHOR", False),
        ("PATH", False),
        ("", False),
    ],
)
def test_names_of_secrets(name: str, expected: bool) -> None:
    assert is_secret_name(name) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sk-proj-abcdefghijklmnop", True),
        ("ghp_abcdefghijklmnopqrst1", True),
        ("postgres://ada:pw@db/x", True),
        ("-----BEGIN RSA PRIVATE KEY-----", True),
        ("postgres://db/x", False),
        ("eu-central-1", False),
        ("", False),
    ],
)
def test_looks_of_secrets(value: str, expected: bool) -> None:
    assert is_secret_value(value) is expected


def test_nothing_is_no_secret() -> None:
    assert not is_secret("API_KEY", "")


def test_a_command_without_secrets_is_shown_as_written() -> None:
    assert shown_command("python 'a b.py'") == "python 'a b.py'"
    assert shown_command(["x", "--token-file", "/run/t"]) == ["x", "--token-file", "/run/t"]
