"""What a machine answered, or why it did not, in one shape; and the worst of several."""

import json
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from agentd.cli import exits
from agentd.cli.remote.hosts import Host
from agentd.cli.remote.ssh import Ran
from agentd.cli.views.words import shortened
from agentd.client import AgentdError
from agentd.reporting.words import visible

Document = dict[str, Any]

SSH_FAILED: Final = 255
NOT_FOUND: Final = 127
CHARS_SHOWN_MAX: Final = 300
# The codes of CONTRACT 5.2 behind the exit codes of CONTRACT 6.
_CODE_OF_EXIT: Final = {
    exits.USAGE: "bad_request",
    exits.FORBIDDEN: "forbidden",
    exits.NO_SUCH_AGENT: "no_such_agent",
    exits.NOT_REACHABLE: "not_reachable",
    exits.TIMED_OUT: "timeout",
}
WORSE: Final = (
    exits.DONE,
    exits.NOT_RUNNING,
    exits.UNKNOWN,
    exits.NO_SUCH_AGENT,
    exits.FAILED,
    exits.USAGE,
    exits.TIMED_OUT,
    exits.NOT_REACHABLE,
)
"""Exit codes, the worse ones last: it is worse not to know than to know."""
WORSE_OF_CHECK: Final = (0, 3, 1, 2)
"""Those of `status --check`, as a monitor ranks them: trouble that is known outweighs."""
CHECK_UNKNOWN: Final = 3
# As `exits.error_text` writes them: a line each, for what would break a line is made visible.
_COMPLAINT: Final = re.compile(r"^agentctl: (.*)$", re.MULTILINE)
_HINT: Final = re.compile(r"^  hint: (.*)$", re.MULTILINE)


class Answer(NamedTuple):
    """One machine's part of a command. Without a document there is an error."""

    host: str
    document: Document | None
    exit_code: int
    error: Document | None = None
    """`{"code","message","hint"}`; beside a document: what was refused, of all that was asked."""

    def as_json(self) -> Document:
        """Return the document under its host's name, or the error."""
        if self.document is None:
            return {"host": self.host, "error": self.error}
        return {**self.document, "host": self.host}


def answer_of(host: Host, ran: Ran, limit_s: float) -> Answer:
    """Judge how a command ended; whatever came is foreign, and no fault of it ends us."""
    if ran.exit_code is None:
        return _given_up(host, ran, limit_s)
    if ran.exit_code == SSH_FAILED:
        return _not_reached(host, ran.err)
    document = _document(ran.out)
    error = _complaint(ran.exit_code, ran.err)
    if document is not None:
        return Answer(host.label, document, ran.exit_code, error if ran.exit_code else None)
    if ran.exit_code == NOT_FOUND:
        hint = "AGENTD_REMOTE=/path/to/agentctl, or have it in the PATH of what ssh runs there"
        return failed(host.label, "internal", f"no agentctl there: {_last(ran.err)}", hint)
    if error is not None and ran.exit_code:
        return Answer(host.label, None, ran.exit_code, error)
    said = ran.out.decode("utf-8", "replace").strip() or _last(ran.err) or "nothing"
    told = f"what answered is not agentctl: {_shown(said)}"
    return failed(host.label, "internal", told, f"ssh {host.address} agentctl version")


def failed(host: str, code: str, message: str, hint: str = "") -> Answer:
    """Make the answer of a machine that has none; its exit code follows from the code."""
    error = {"code": code, "message": message, "hint": hint}
    return Answer(host, None, exits.EXIT_OF_CODE.get(code, exits.FAILED), error)


def refused(host: str, error: Exception) -> Answer:
    """Make the answer out of what was raised while the machine was asked."""
    if isinstance(error, AgentdError):
        return failed(host, error.code, error.message, error.hint)
    if isinstance(error, exits.CommandError):
        code = _CODE_OF_EXIT.get(error.exit_code, "internal")
        told = {"code": code, "message": error.message, "hint": error.hint}
        return Answer(host, None, error.exit_code, told)
    return failed(host, "internal", f"unexpected {type(error).__name__}: {error}")


def worst(answers: Iterable[int], order: tuple[int, ...] = WORSE) -> int:
    """Return the worst of some exit codes; one that is not in the order counts as a failure."""

    def rank(code: int) -> int:
        return order.index(code) if code in order else order.index(exits.FAILED)

    return max(answers, key=rank, default=exits.DONE)


def _given_up(host: Host, ran: Ran, limit_s: float) -> Answer:
    if ran.given_up == "timeout":
        told = f"no answer within {limit_s:.3g}s"
        why = _last(ran.err)
        return failed(host.label, "timeout", f"{told} ({why})" if why else told, "--timeout")
    return failed(host.label, "internal", "an answer of more than 64 MiB was refused")


def _not_reached(host: Host, err: str) -> Answer:
    told = _last(err) or "ssh could not connect, and does not say why"
    hint = ""
    if "ermission denied" in told:
        hint = f"ssh {host.address} must work without a password: a key, or ssh-agent"
    elif "erification failed" in told:
        hint = f"connect once by hand, and look at its key: ssh {host.address}"
    return failed(host.label, "not_reachable", told, hint)


def _document(out: bytes) -> Document | None:
    """Return the last line's document: a shell's start-up files may have spoken before."""
    lines = out.rstrip().rsplit(b"\n", 1)
    try:
        found = json.loads(lines[-1])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _complaint(exit_code: int, err: str) -> Document | None:
    """Return what agentctl said on stderr; None: it said nothing."""
    messages = [_shown(text) for text in _COMPLAINT.findall(err)]
    if not messages:
        return None
    hints = _HINT.findall(err)
    return {
        "code": _CODE_OF_EXIT.get(exit_code, "internal"),
        "message": "; ".join(messages),
        "hint": _shown(hints[-1]) if hints else "",
    }


def _last(err: str) -> str:
    lines = [line for line in err.splitlines() if line.strip()]
    return _shown(lines[-1].strip()) if lines else ""


def _shown(text: str) -> str:
    return shortened(visible(text), CHARS_SHOWN_MAX)
