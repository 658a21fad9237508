"""Sinks of alerts: every mistake has a line, and a secret that others can read is warned of."""

import os
from pathlib import Path

import pytest

from agentd.config.masking import secrets_of
from agentd.config.sink_checks import SINKS_MAX
from tests.config.conftest import Read

CANARY = "canary-T0p53cret"
HEAD = '[[alerts.sinks]]\nname = "ops"\n'

# name: (further lines from line 3 on, line, key below the sink, words of the message, of the hint)
MISTAKES: dict[str, tuple[str, int, str, str, str]] = {
    "pagerduty without a key": ('type = "pagerduty"', 1, "", "needs routing_key_file", ""),
    "command without one": ('type = "command"', 1, "", "needs command", ""),
    "url twice": (
        'type = "slack"\nurl = "https://h/x"\nurl_file = "f"',
        *(4, ".url", "given as well as url_file", "keep one of the two"),
    ),
    "key of another type": (
        'type = "slack"\nurl_file = "f"\nsecret_file = "s"',
        *(5, ".secret_file", 'means nothing for a sink of type "slack"', "url, url_file"),
    ),
    "command of another type": (
        'type = "webhook"\nurl_file = "f"\ncommand = "x"',
        *(5, ".command", 'means nothing for a sink of type "webhook"', "secret_file"),
    ),
    "url of a command": (
        'type = "command"\ncommand = "x"\nurl = "https://h/"',
        *(5, ".url", "means nothing", "it takes command"),
    ),
    "no url": ('type = "webhook"\nurl = "hooks"', 4, ".url", "begins with https://", ""),
    "url of another kind": (
        'type = "webhook"\nurl = "ftp://h/"',
        *(4, ".url", "begins with https://", ""),
    ),
    "half of an address": (
        'type = "webhook"\nurl = "https://[::1"',
        *(4, ".url", "begins with https://", ""),
    ),
    "port too far": (
        'type = "webhook"\nurl = "https://h:99999/y"',
        *(4, ".url", "its port is no number up to 65535", ""),
    ),
    "port of letters": (
        'type = "webhook"\nurl = "https://h:web/y"',
        *(4, ".url", "its port is no number up to 65535", ""),
    ),
    "space in a url": ('type = "webhook"\nurl = "https://h/a b"', 4, ".url", "no space in it", ""),
    "reaches nobody": (
        'type = "command"\ncommand = "x"\nagents = []',
        *(5, ".agents", "reaches nobody", '["*"]'),
    ),
    "letters that no request may hold": (
        f'type = "slack"\nurl = "https://h/{CANARY}ü"',
        *(4, ".url", "begins with https://", "%XX"),
    ),
    "plain http": (
        f'type = "webhook"\nurl = "http://10.0.0.1/{CANARY}"',
        *(4, ".url", "http:// beyond this machine", "https://"),
    ),
    "plain http for pagerduty": (
        'type = "pagerduty"\nrouting_key_file = "k"\nurl = "http://h/"',
        *(5, ".url", "http:// beyond this machine", ""),
    ),
    "no service": ('type = "apprise"\nurl = "ntfy"', 4, ".url", "not a URL", "ntfys://"),
    "open quote": (
        'type = "command"\ncommand = "notify \'me"',
        *(4, ".command", "can't be split into words", "close the quote"),
    ),
    "empty word": (
        'type = "command"\ncommand = ["", "x"]',
        *(4, ".command", "the name of the program is empty", ""),
    ),
    "nul in a command": (
        'type = "command"\ncommand = ["x\\u0000"]',
        *(4, ".command", "holds a NUL character", ""),
    ),
    "nul in a path": (
        'type = "slack"\nurl_file = "x\\u0000"',
        *(4, ".url_file", "holds a NUL character", ""),
    ),
    "no event": (
        'type = "command"\ncommand = "x"\nevents = ["agent unreachable"]',
        *(5, ".events[0]", "matches no event", 'did you mean "agent.unreachable"?'),
    ),
    "no agent": (
        'type = "command"\ncommand = "x"\nagents = ["a", "b c"]',
        *(5, ".agents[1]", "selects no agent", '"order-*"'),
    ),
    "no name": ('type = "command"\ncommand = "x"', 2, ".name", "a sink's name has", ""),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_line_key_and_what_instead(read: Read, name: str) -> None:
    text, line, key, message, hint = MISTAKES[name]
    head = HEAD.replace("ops", "o ps") if name == "no name" else HEAD
    [error] = read(f"{head}{text}\n").errors
    assert (error.line, error.key) == (line, f"alerts.sinks[0]{key}")
    assert message in error.message
    assert hint in error.hint
    assert CANARY not in error.text()


@pytest.mark.parametrize(
    "text",
    [
        'type = "slack"\nurl_file = "url"',
        'type = "slack"\nurl = "http://127.0.0.1:8080/x"',
        'type = "webhook"\nurl = "https://u:p@h:1/x?y"\nsecret_file = "s"',
        'type = "pagerduty"\nrouting_key_file = "k"',
        'type = "pagerduty"\nrouting_key_file = "k"\nurl = "https://events.eu.pagerduty.com/v2/x"',
        'type = "command"\ncommand = "notify me"\nevents = ["agent.*", "daemon.storage"]',
        'type = "command"\ncommand = ["x"]\nagents = ["tag:shop", "m-3/orders", "order-?"]',
        'type = "apprise"\nurl = "ntfys://topic"',
        'type = "apprise"\nurl_file = "urls"\nmin_severity = "critical"',
    ],
)
def test_what_is_right_is_left_alone(read: Read, text: str) -> None:
    assert read(f"{HEAD}{text}\n").errors == []


def test_a_name_that_is_too_long_is_told_the_limit(read: Read) -> None:
    head = HEAD.replace("ops", "o" * 64)
    [error] = read(f'{head}type = "command"\ncommand = "x"\n').errors
    assert error.message == "a sink's name has 63 characters at most, not 64"


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_is_no_secret_file(read: Read, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "hook"
    place.mkdir() if kind == "directory" else os.mkfifo(place)
    [warning] = read(f'{HEAD}type = "slack"\nurl_file = "hook"\n').warnings
    assert warning.message == f"{place} is not a regular file"
    assert "chmod" not in warning.hint


def test_more_sinks_than_threads_are_too_many(read: Read) -> None:
    sinks = "".join(
        f'[[alerts.sinks]]\nname = "s{number}"\ntype = "command"\ncommand = "x"\n'
        for number in range(SINKS_MAX + 1)
    )
    [error] = read(sinks).errors
    assert (error.key, error.message) == ("alerts.sinks", f"more than {SINKS_MAX} sinks")


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (0o600, ""),
        (0o400, ""),
        (0o640, "others may read"),
        (0o604, "others may read"),
        (0o620, "or change"),
        (0o602, "or change"),
    ],
)
def test_a_secret_file_that_others_can_read_is_warned_of(
    read: Read, tmp_path: Path, mode: int, told: str
) -> None:
    file = tmp_path / "hook"
    file.write_text(CANARY)
    file.chmod(mode)
    loaded = read(f'{HEAD}type = "slack"\nurl_file = "hook"\n')
    assert loaded.errors == []
    found = [(one.line, one.key, one.hint) for one in loaded.warnings if told in one.message]
    assert found == ([(4, "alerts.sinks[0].url_file", f"chmod 600 {file}")] if told else [])
    assert CANARY not in repr(loaded.warnings)


@pytest.mark.parametrize("key", ["url_file", "secret_file"])
def test_a_secret_file_that_is_not_there_yet_is_warned_of(
    read: Read, tmp_path: Path, key: str
) -> None:
    for name in {"url_file", "secret_file"} - {key}:
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    loaded = read(f'{HEAD}type = "webhook"\nurl_file = "url_file"\nsecret_file = "secret_file"\n')
    [warning] = loaded.warnings
    assert warning.key == f"alerts.sinks[0].{key}"
    assert warning.message == "there is no such file"
    assert str(tmp_path / key) in warning.hint


def test_a_name_that_no_agent_has_is_warned_of(read: Read) -> None:
    loaded = read(
        f'{HEAD}type = "command"\ncommand = "x"\nagents = ["order", "orders", "o-*", "tag:o"]\n'
        '[agents.orders]\ncommand = "sleep 9"\n'
    )
    [warning] = loaded.warnings
    assert (warning.line, warning.key) == (5, "alerts.sinks[0].agents[0]")
    assert (warning.message, warning.hint) == (
        'no agent is called "order"',
        'did you mean "orders"?',
    )


def test_addresses_that_let_one_write_or_keep_silent_are_secrets(read: Read) -> None:
    loaded = read(
        f'{HEAD}type = "slack"\nurl = "https://h/{CANARY}"\n'
        f'[report]\nping_url = "https://p/{CANARY}"\n'
    )
    assert secrets_of(loaded) == {f"https://h/{CANARY}", f"https://p/{CANARY}"}
