"""`agentctl -H HOST,HOST COMMAND`: the command on all of them at once, and one answer."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic, sleep
from types import FrameType
from typing import TYPE_CHECKING, Final

import click

from agentd.cli import exits
from agentd.cli.commands.status import WATCH_S
from agentd.cli.invocation import Invocation
from agentd.cli.lazy import HintedUsageError
from agentd.cli.operate import WAIT_S_MAX
from agentd.cli.remote.answers import (
    CHECK_UNKNOWN,
    WORSE_OF_CHECK,
    Answer,
    answer_of,
    refused,
    worst,
)
from agentd.cli.remote.configured import listed_hosts
from agentd.cli.remote.hosts import Host, hosts_of
from agentd.cli.remote.ssh import CONNECT_S, Runs, command_line, run
from agentd.cli.remote.words import Asked, remote_line, words_of

if TYPE_CHECKING:
    from agentd.cli.remote.nats import Fleet

AT_ONCE_MAX: Final = 32
ANSWER_S: Final = 10.0
"""What a command has beyond what it waits for (CONTRACT 6)."""
MARGIN_S: Final = 1.0
"""So much of `--timeout` is kept back from the other side, whose word on it is the better one."""
# Those that wait until it has come true, for as long as the agents' configuration allows.
WAITING: Final = frozenset(
    {"start", "stop", "restart", "kill", "pause", "resume", "wait", "shutdown", "daemon", "alerts"}
)
# Those that only make sense where they stand.
HERE_ONLY: Final = frozenset({"heartbeat", "completion", "dashboard", "fleet"})
# Those whose numbers are one host's own.
OF_ONE_HOST: Final = frozenset({"incident", "ack"})
QUIET: Final = frozenset(
    {"ping", "is-active", "is-healthy", "is-failed", "reload", "hold", "unhold", "reset", "signal"}
    | {"start", "stop", "restart", "kill", "pause", "resume", "wait", "shutdown", "ack"}
)
"""Of these `-q` shows nothing but errors."""


def carry_out(ctx: click.Context, command: click.Command, given: Sequence[str]) -> None:
    """Carry a command line out on the hosts of `-H`; exits with the worst of their codes."""
    call = ctx.ensure_object(Invocation)
    hosts = hosts_of(call.hosts or "", listed_hosts)
    asked = Asked(command, ctx.params, words_of(command, ctx, given))
    _refuse(asked, hosts)
    with _ended_by_signals():
        if asked.name == "top" and _is_live(call, asked):
            _live(call, asked, hosts)
        elif asked.params.get("follow"):
            ctx.exit(_follow(call, asked, hosts))
        else:
            ctx.exit(_once(call, asked, hosts))


def _refuse(asked: Asked, hosts: Sequence[Host]) -> None:
    name, params = asked.name, asked.params
    if name in HERE_ONLY:
        raise HintedUsageError(f"{name} is for this machine only", f"agentctl {name} --help")
    if params.get("trace"):
        hint = "ssh HOST agentctl events --trace"
        raise HintedUsageError("a trace is recorded and replayed on one machine", hint)
    if len(hosts) > 1 and (name in OF_ONE_HOST or params.get("after") is not None):
        raise HintedUsageError(
            "numbers are those of one host: name one", f"agentctl -H HOST {name}"
        )


def _once(call: Invocation, asked: Asked, hosts: Sequence[Host]) -> int:
    """Ask all hosts and show what they say; with `--watch`, again and again."""
    name, params = asked.name, asked.params
    is_check = name == "status" and bool(params.get("check"))
    while True:
        answers = ask(call, asked, hosts)
        show(call, asked, answers)
        codes = [CHECK_UNKNOWN if is_check and one.document is None else one.exit_code
                 for one in answers]  # fmt: skip
        left_s = call.left_s()
        if not params.get("watch") or (left_s is not None and left_s < WATCH_S):
            return worst(codes, WORSE_OF_CHECK) if is_check else worst(codes)
        sleep(WATCH_S)


def ask(call: Invocation, asked: Asked, hosts: Sequence[Host]) -> list[Answer]:
    """Ask all hosts at once, each for a bounded time; the answers stand as the hosts do."""
    fleet: Fleet | None = None
    if any(host.over_nats for host in hosts):
        from agentd.cli.remote.nats import fleet_of_config  # noqa: PLC0415 - of an extra

        fleet = fleet_of_config()
    runs = Runs()
    pool = ThreadPoolExecutor(min(len(hosts), AT_ONCE_MAX), thread_name_prefix="host")
    try:
        return list(pool.map(_asking(call, asked, runs, fleet), hosts))
    except BaseException:  # a signal: what is asked over NATS ends as what runs over ssh does
        if fleet is not None:
            fleet.end()
        raise
    finally:
        runs.end()
        pool.shutdown(cancel_futures=True)


def _asking(
    call: Invocation, asked: Asked, runs: Runs, fleet: "Fleet | None"
) -> Callable[[Host], Answer]:
    def one(host: Host) -> Answer:
        try:
            limited_s = limit_s(call, asked.name)
            if fleet is not None and host.over_nats:
                return fleet.carried_out(asked, host, limited_s, call.left_s())
            ran = run(runs, argv_of(call, asked.words)(host), monotonic() + limited_s)
            return answer_of(host, ran, limited_s)
        except Exception as error:  # noqa: BLE001 - it is this host's row; the others are shown
            return refused(host.label, error)

    return one


def limit_s(call: Invocation, name: str) -> float:
    """Return how long one host may take, in seconds."""
    left_s = call.left_s()
    if left_s is not None:
        return left_s
    return CONNECT_S + ANSWER_S + (WAIT_S_MAX if name in WAITING else 0.0)


def argv_of(call: Invocation, words: Sequence[str]) -> Callable[[Host], list[str]]:
    """Return what makes the words that run the command on a host over ssh."""
    left_s = call.left_s()
    theirs_s = None if left_s is None else max(left_s - MARGIN_S, left_s / 2)
    line = remote_line(words, env=os.environ, socket=call.socket, timeout_s=theirs_s)
    connect_s = CONNECT_S if left_s is None else min(CONNECT_S, left_s)
    return lambda host: command_line(host.address, line, os.environ, connect_s)


def show(call: Invocation, asked: Asked, answers: Sequence[Answer]) -> None:
    """Print the documents, or what people read; errors that have no row of their own, below."""
    has_rows = False
    if call.json:
        call.print_json([answer.as_json() for answer in answers])
    elif not (call.quiet and asked.name in QUIET):
        from agentd.cli.remote.views import joined, view_of  # noqa: PLC0415 - not for --json

        shown = joined(asked.name, answers, view_of(asked.name, asked.params, call))
        has_rows = not isinstance(shown, str)
        if shown:
            call.show(shown)
    for answer in answers:
        if answer.error and (answer.document is not None or not (call.json or has_rows)):
            told = f"{answer.host}: {answer.error.get('message', '')}"
            call.complain(exits.error_text("agentctl", told, str(answer.error.get("hint") or "")))


def _follow(call: Invocation, asked: Asked, hosts: Sequence[Host]) -> int:
    from agentd.cli.remote.follow import follow  # noqa: PLC0415 - only here

    for host in hosts:
        if host.over_nats:
            raise HintedUsageError("nothing is followed over NATS", "agentctl fleet events -f")
    left_s = call.left_s()
    until = None if left_s is None else monotonic() + left_s
    return follow(call, asked, hosts, argv_of(call, asked.words), until)


def _is_live(call: Invocation, asked: Asked) -> bool:
    return (
        not (asked.params.get("once") or call.json) and sys.stdin.isatty() and sys.stdout.isatty()
    )


def _live(call: Invocation, asked: Asked, hosts: Sequence[Host]) -> None:
    """Show the live view of one host, on this terminal, as it runs there."""
    if len(hosts) > 1 or hosts[0].over_nats:
        raise HintedUsageError(
            "top shows one host, over ssh", "agentctl -H HOST,HOST status --watch"
        )
    line = remote_line(asked.words, env=os.environ, socket=call.socket)
    argv = command_line(hosts[0].address, line.replace(" --json", "", 1), os.environ)
    argv[argv.index("-T")] = "-t"
    os.execvp(argv[0], argv)  # noqa: S606 - it takes our place, and the terminal


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end what runs, as Ctrl-C does, and not leave it behind."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise click.exceptions.Exit(128 + number)

    before = {one: signal.signal(one, leave) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
