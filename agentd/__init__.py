"""agentd: a supervisor for long-running AI agents.

These are the names for agents; `agentd.client` is for operators' programs. A name is
imported when it is first used, so that `import agentd` alone costs next to nothing; in an
agent's own process the heartbeat is imported at once, so that no beat pays for that.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agentd.sdk.actions import action
    from agentd.sdk.beats import expect_silence, goal, heartbeat, parked, report, shutting_down
    from agentd.sdk.calls import call
    from agentd.sdk.checkpoints import checkpoint, restored, unfinished
    from agentd.sdk.controls import control, should_stop
    from agentd.sdk.guards import BreakerOpen, guarded
    from agentd.sdk.stacks import allow_stack_dump
    from agentd.sdk.steps import step

__version__ = "0.1.0"

__all__ = [
    "BreakerOpen",
    "__version__",
    "action",
    "allow_stack_dump",
    "call",
    "checkpoint",
    "control",
    "expect_silence",
    "goal",
    "guarded",
    "heartbeat",
    "parked",
    "report",
    "restored",
    "should_stop",
    "shutting_down",
    "step",
    "unfinished",
]

_FILES = {
    "actions": ("action",),
    "beats": ("expect_silence", "goal", "heartbeat", "parked", "report", "shutting_down"),
    "calls": ("call",),
    "checkpoints": ("checkpoint", "restored", "unfinished"),
    "controls": ("control", "should_stop"),
    "guards": ("BreakerOpen", "guarded"),
    "stacks": ("allow_stack_dump",),
    "steps": ("step",),
}


def __getattr__(name: str) -> object:
    for file, names in _FILES.items():
        if name in names:
            module = __import__(f"agentd.sdk.{file}", fromlist=names)
            found: object = getattr(module, name)
            globals()[name] = found
            return found
    raise AttributeError(f"module 'agentd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "AGENTD_TOKEN" in os.environ:
    __getattr__("heartbeat")
