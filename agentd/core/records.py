"""What must outlive the daemon, as plain data; the store keeps it, the core reads it back."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final

from agentd.core.states import Intent, State, StopReason

# Reasons that say what an operator wanted, and nothing of how it went.
_WISHES: Final = (StopReason.USER_PAUSED, StopReason.USER_STOPPED, StopReason.USER_KILLED)


@dataclass(slots=True)
class LastExit:
    """The last end of a run."""

    reason: StopReason
    evidence: str
    at_ms: int
    code: int | None = None
    signal: int | None = None


@dataclass(slots=True)
class Durable:
    """One agent's durable half. Times are CLOCK_BOOTTIME of the boot that wrote them; the
    reader shifts those of an earlier boot before the core sees them.
    """

    intent: Intent = Intent.UP
    intent_by: str = ""
    intent_reason: str = ""
    state: State = State.STOPPED
    held: bool = False
    ready: bool = False
    execution: str = ""
    first_start: bool = True
    """No start of this execution has been made yet."""
    incarnation: int = 0
    incarnation_id: str = ""
    spawned_at_ms: int | None = None
    failures: int = 0
    """Failures in a row."""
    row: int = 0
    """Automatic restarts in this row."""
    auto_start_at_ms: int | None = None
    """When the last automatic restart of this row was made."""
    cooldown_until_ms: int | None = None
    cooldown_left_ms: int | None = None
    """What was left of a cooldown when a pause began: its clocks stand still."""
    parked_until_ms: int | None = None
    reason: StopReason | None = None
    evidence: str = ""
    stop_reason: StopReason | None = None
    """Why a stop that is under way was begun; the reason of the end that follows."""
    stop_evidence: str = ""
    stop_after: str = ""
    automatic: bool = False
    """The next start is an automatic restart, and takes its place in the row."""
    awaiting: str = ""
    """Why a start is due that could not be made yet; empty: none is due."""
    restarts: int = 0
    """Starts after the first, whatever the cause."""
    last_exit: LastExit | None = None
    heartbeats: int = 0
    tokens: int = 0
    cost_micros: int = 0
    cost_known: bool = False
    successes: int = 0
    failures_told: int = 0
    """Tasks that the agent itself reported as failed."""
    removed: bool = False

    def copy(self) -> "Durable":
        """Return a copy; of what it holds, nothing is ever changed in place."""
        return Durable(*_values(self))

    def forget_wish(self) -> None:
        """Once it is wanted up, why it was down is history; what ended its run last stands."""
        if self.reason in _WISHES:
            last = self.last_exit
            stands = last is not None and last.reason not in _WISHES
            self.reason = last.reason if last is not None and stands else None
            self.evidence = last.evidence if last is not None and stands else ""


# Six times as fast as dataclasses.replace, at each change of each agent.
_values: Final[Callable[[Durable], tuple[Any, ...]]] = attrgetter(
    *(each.name for each in fields(Durable))
)


@dataclass(slots=True)
class Record:
    """One entry of the journal before it has an id and a wall time (CONTRACT 6.2)."""

    event: str
    severity: str
    message: str
    agent: str | None = None
    incarnation: int | None = None
    incarnation_id: str | None = None
    reason: str | None = None
    data: dict[str, object] = field(default_factory=dict)
