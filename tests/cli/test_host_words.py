"""`-H`: which words name hosts, what is said to them, and which exit code is the worst."""

import shlex

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.cli.main import COMMANDS, agentctl
from agentd.cli.remote.answers import WORSE, WORSE_OF_CHECK, worst
from agentd.cli.remote.hosts import Host, hosts_of
from agentd.cli.remote.words import remote_line, words_of

LISTED = {"a": "alpha", "b": "ada@beta", "c": "nats:gamma"}


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        ("a", ["a"]),
        ("a,b,a", ["a", "b"]),
        ("ada@m-1.example:22,[::1]", ["ada@m-1.example:22", "[::1]"]),
        ("ssh://ada@m1:2222", ["ssh://ada@m1:2222"]),
        ("@all", ["a", "b", "c"]),
        ("@b, x", ["b", "x"]),
        ("nats:machine-3", ["machine-3"]),
    ],
)
def test_hosts_are_named(words: str, labels: list[str]) -> None:
    assert [host.label for host in hosts_of(words, lambda: LISTED)] == labels


def test_a_listed_host_is_reached_by_its_address() -> None:
    assert hosts_of("@all", lambda: LISTED) == [
        Host("a", "alpha"), Host("b", "ada@beta"), Host("c", "gamma", over_nats=True),
    ]  # fmt: skip


@given(st.lists(st.text(max_size=20), max_size=5))
def test_no_argument_becomes_an_option_or_a_word_of_a_shell(arguments: list[str]) -> None:
    words = [word for word in arguments if "\x00" not in word]
    command = click.Command("stop", params=[click.Argument(["select"], nargs=-1),
                                            click.Option(["--reason"])])  # fmt: skip
    given_words = ["--reason=--json", "--", *words]
    said = words_of(command, click.Context(command), given_words)
    assert said == ["stop", "--reason=--json", *(["--", *words] if words else [])]
    line = remote_line(said, env={})
    assert shlex.split(line) == ["agentctl", "--json", *said]


@pytest.mark.parametrize(
    ("codes", "worst_one"),
    [([0, 3, 0], 3), ([0, 5, 7], 7), ([124, 5], 124), ([0, 99, 3], 99), ([], 0), ([4, 1], 1)],
)
def test_the_exit_code_is_that_of_the_worst(codes: list[int], worst_one: int) -> None:
    assert worst(codes) == worst_one
    assert worst(reversed(codes)) == worst_one
    assert sorted(WORSE_OF_CHECK) == [0, 1, 2, 3]
    assert len(set(WORSE)) == len(WORSE)


def test_every_command_takes_hosts() -> None:
    for name in COMMANDS:
        command = agentctl.get_command(click.Context(agentctl), name)
        assert command is not None
        assert any("--host" in param.opts for param in command.params), name
