"""The life of one agent, as a table.

Rule 1: every change of state goes through `advance`. Nothing else assigns one.
Rule 2: this file knows nothing of processes, sockets or clocks.

A state says what the process is doing. What the operator wants (`Intent`) and what is
believed of its health (`Health`) are separate axes: a paused agent is not unhealthy,
and a killed one must not come back because it looks well again.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Intent(StrEnum):
    """What the operator wants; durable and sticky."""

    UP = "up"
    PAUSED = "paused"
    STOPPED = "stopped"
    KILLED = "killed"


class State(StrEnum):
    """What the process is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    COOLDOWN = "cooldown"
    PARKED = "parked"
    ESCALATED = "escalated"
    PAUSED = "paused"
    COMPLETED = "completed"


class Health(StrEnum):
    """What is believed of it; computed, never stored."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNREACHABLE = "unreachable"
    KILLED = "killed"
    UNKNOWN = "unknown"


class StopReason(StrEnum):
    """Why a run ended; a closed list, one on every stop."""

    COMPLETED = "COMPLETED"
    EXITED = "EXITED"
    CRASHED = "CRASHED"
    OOM_KILLED = "OOM_KILLED"
    SPAWN_FAILED = "SPAWN_FAILED"
    STATE_INVALID = "STATE_INVALID"
    STARTUP_TIMEOUT = "STARTUP_TIMEOUT"
    TIMEOUT = "TIMEOUT"
    LOOP_DETECTED = "LOOP_DETECTED"
    DRIFT_DETECTED = "DRIFT_DETECTED"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    COST_SPIKE = "COST_SPIKE"
    RETRY_LIMIT_REACHED = "RETRY_LIMIT_REACHED"
    TOOL_FAILURE = "TOOL_FAILURE"
    MEMORY_LEAK = "MEMORY_LEAK"
    MEMORY_LIMIT = "MEMORY_LIMIT"
    DEPENDENCY_DOWN = "DEPENDENCY_DOWN"
    USER_PAUSED = "USER_PAUSED"
    USER_KILLED = "USER_KILLED"
    USER_STOPPED = "USER_STOPPED"
    USER_RESTARTED = "USER_RESTARTED"
    CONFIG_CHANGED = "CONFIG_CHANGED"
    DAEMON_STOPPED = "DAEMON_STOPPED"
    HOST_REBOOTED = "HOST_REBOOTED"
    UNKNOWN = "UNKNOWN"


class Trigger(StrEnum):
    """What moves an agent from one state to the next."""

    START = "start"
    READY = "ready"
    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    PARK = "park"
    UNPARK = "unpark"
    END = "end"
    """It is gone, and stays gone until somebody says otherwise."""
    FINISH = "finish"
    """It is gone, and its work is done."""
    RETRY = "retry"
    """It is gone, and comes back after a while."""
    AGAIN = "again"
    """It is gone, and comes back at once."""
    WAIT_PARKED = "wait_parked"
    """It is gone, and comes back when its provider said so."""
    GIVE_UP = "give_up"
    """It is gone, and a human is called."""
    HELD_BACK = "held_back"
    """It is gone, and its operator has paused it."""


class IllegalTransition(Exception):  # noqa: N818 - a bug of ours, named after what it is
    """The table has no such arrow; always our bug, never the user's mistake."""


# However a run ends, these are the ways on.
_GONE: Final = {
    Trigger.END: State.STOPPED,
    Trigger.FINISH: State.COMPLETED,
    Trigger.RETRY: State.COOLDOWN,
    Trigger.AGAIN: State.STARTING,
    Trigger.WAIT_PARKED: State.PARKED,
    Trigger.GIVE_UP: State.ESCALATED,
    Trigger.HELD_BACK: State.PAUSED,
}
# Without a process, a start, a stop and a pause are matters of the mind.
_DOWN: Final = {
    Trigger.START: State.STARTING,
    Trigger.END: State.STOPPED,
    Trigger.HELD_BACK: State.PAUSED,
}

TRANSITIONS: Final[Mapping[State, Mapping[Trigger, State]]] = {
    State.STOPPED: _DOWN,
    # From the decision to start until it is ready: validated, spawned, heard of.
    State.STARTING: {
        Trigger.READY: State.RUNNING,
        Trigger.STOP: State.STOPPING,
        Trigger.PAUSE: State.PAUSED,
        Trigger.PARK: State.PARKED,
        **_GONE,
    },
    State.RUNNING: {
        Trigger.STOP: State.STOPPING,
        Trigger.PAUSE: State.PAUSED,
        Trigger.PARK: State.PARKED,
        **_GONE,
    },
    # A stop that is under way may be overtaken by a harder one; it stays a stop.
    State.STOPPING: {Trigger.STOP: State.STOPPING, **_GONE},
    # Paused with a process: resumed where it stood. Without one: started.
    State.PAUSED: {
        Trigger.RESUME: State.RUNNING,
        Trigger.START: State.STARTING,
        Trigger.STOP: State.STOPPING,
        **_GONE,
    },
    # Parked with a process: it waits for its provider. Without one: started at the end.
    State.PARKED: {
        Trigger.UNPARK: State.RUNNING,
        Trigger.START: State.STARTING,
        Trigger.STOP: State.STOPPING,
        Trigger.PAUSE: State.PAUSED,
        **_GONE,
    },
    State.COOLDOWN: {**_DOWN, Trigger.RETRY: State.COOLDOWN, Trigger.GIVE_UP: State.ESCALATED},
    State.ESCALATED: _DOWN,
    State.COMPLETED: _DOWN,
}


def advance(state: State, trigger: Trigger) -> State:
    """Return the next state; an `IllegalTransition` is our bug, never the user's mistake."""
    try:
        return TRANSITIONS[state][trigger]
    except KeyError:
        raise IllegalTransition(f"{trigger} while {state}") from None
