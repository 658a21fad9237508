"""How a command line ends: its exit code, and the text of an error.

The codes are those of CONTRACT 6. An error is written to stderr as `NAME: what` and, where
there is one, a second line with the next step. Nobody ever reads a traceback
who did not ask for it by AGENTD_DEBUG=1.
"""

import contextlib
import os
import sys
from typing import Final, NoReturn

import click

from agentd.cli.lazy import HintedUsageError
from agentd.client import AgentdError

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3
FORBIDDEN: Final = 4
UNKNOWN: Final = 4
"""`status NAME` and `is-*` only: the agent doesn't exist, or nothing is known of it."""
NO_SUCH_AGENT: Final = 5
NOT_REACHABLE: Final = 7
TIMED_OUT: Final = 124
INTERRUPTED: Final = 130

EXIT_OF_CODE: Final = {
    "bad_request": USAGE,
    "forbidden": FORBIDDEN,
    "no_such_agent": NO_SUCH_AGENT,
    "not_reachable": NOT_REACHABLE,
    "timeout": TIMED_OUT,
}
"""Error code of CONTRACT 5.2 → exit code; any other one is `FAILED`."""


_OTHER_VERSION: Final = (
    'agentctl and the daemon are of different versions: "agentctl version" shows both; '
    "the daemon takes up what is installed by: agentctl daemon reexec"
)
_REPORT: Final = "a fault of ours: please report it, with what AGENTD_DEBUG=1 shows"


class CommandError(Exception):
    """A command failed in a way that it has a code and words of its own for."""

    def __init__(self, exit_code: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message
        self.hint = hint


def run(group: click.Group, name: str, state: object = None) -> int:
    """Run a command line to its end and return the exit code, whatever happens in it."""
    try:
        # Not `group.main`, which turns a closed pipe into a failure and Ctrl-C into a blank line.
        instruction = os.environ.get(f"_{name.upper()}_COMPLETE")
        if instruction:
            return _complete(group, name, instruction)
        with group.make_context(name, sys.argv[1:], obj=state) as ctx:
            group.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:
        # The reader has seen enough, as `head` has. Python must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("AGENTD_DEBUG"):
            raise
        exit_code, text = explain(name, error)
        print(text, file=sys.stderr)
        return exit_code
    return DONE


def leave(exit_code: int) -> NoReturn:
    """End the process at once.

    Nothing is open but what the system closes; Python's own way out would take a sixth of
    the CPU time that `agentctl status --json` takes in all (docs/performance.md).
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # whoever could not write has said so already
            stream.flush()
    os._exit(exit_code)


def _complete(group: click.Group, name: str, instruction: str) -> int:
    from click.shell_completion import shell_complete  # noqa: PLC0415 - only at TAB

    return shell_complete(group, {}, name, f"_{name.upper()}_COMPLETE", instruction)


def explain(name: str, error: Exception) -> tuple[int, str]:
    """Return the exit code of an error, and the text that tells a person what to do."""
    match error:
        case click.exceptions.NoArgsIsHelpError():
            return USAGE, error.format_message()
        case click.UsageError():
            return USAGE, error_text(name, *_usage(name, error))
        case click.ClickException():
            return FAILED, error_text(name, error.format_message())
        case AgentdError():
            exit_code = EXIT_OF_CODE.get(error.code, FAILED)
            # It is in our table, or it would never have been sent.
            hint = _OTHER_VERSION if error.code == "unknown_command" else error.hint
            return exit_code, error_text(name, error.message, hint)
        case CommandError():
            return error.exit_code, error_text(name, error.message, error.hint)
        case OSError():
            return FAILED, error_text(name, f"cannot go on: {error}")
        case _:
            what = f"unexpected {type(error).__name__}: {error}"
            return FAILED, error_text(name, what, _REPORT)


def _usage(name: str, error: click.UsageError) -> tuple[str, str]:
    from difflib import get_close_matches  # noqa: PLC0415 - only for what was mistyped

    message = error.message.rstrip(".")
    hint = f"{error.ctx.command_path if error.ctx else name} --help"
    if isinstance(error, HintedUsageError):
        hint = error.hint
    elif isinstance(error, click.NoSuchOption):
        near = get_close_matches(error.option_name, error.possibilities or (), n=1)
        hint = f"did you mean {near[0]}?" if near else hint
    elif not message:  # a missing parameter says so only when it is formatted
        message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:], hint


def error_text(name: str, message: str, hint: str = "") -> str:
    """Write an error as it stands on stderr: what, and on a line of its own what instead."""
    from agentd.reporting.words import visible  # noqa: PLC0415 - only for an error

    text = f"{name}: {visible(message)}"
    return f"{text}\n  hint: {visible(hint)}" if hint else text
