"""Bugs on purpose: a program that a daemon runs first, and the invariant that it breaks.

A text is what such a daemon is told beside its own program, so that the bug is in no other.
"""

from dataclasses import dataclass
from typing import Final

# After an agent was restored by a daemon that follows another one.
_RESTORED: Final = """
from agentd.core import boot, states
real = boot.restore
def restore(turn, agent, fate):
    real(turn, agent, fate)
    {line}
boot.restore = restore
"""
# Rows that never get to the disk, though whoever asked is told that they have.
_LOST: Final = """
from agentd.store import statements
real = statements._write_state
def write(connection, row, now):
    if not ({condition}):
        real(connection, row, now)
statements._write_state = write
"""
# Events of one kind that are not told.
_UNTOLD: Final = """
from agentd.core.turn import Turn
real = Turn.journal
def journal(self, event, agent, *words, **more):
    if not ({condition}):
        real(self, event, agent, *words, **more)
Turn.journal = journal
"""


def restored(line: str) -> str:
    return _RESTORED.format(line=line)


def lost(condition: str) -> str:
    return _LOST.format(condition=condition)


def untold(condition: str) -> str:
    return _UNTOLD.format(condition=condition)


SECOND_COPY: Final = """
from agentd.daemon import adoption, recovery
real = adoption.find
def find(row, *words):
    return adoption.Found("gone", "planted") if row.agent == "target" else real(row, *words)
async def scan(*_):
    return adoption.Scan([], True)
adoption.find, adoption.scan = find, scan
recovery.Recovery._end = lambda *_: False
"""
NOT_ADOPTED: Final = """
from agentd.daemon import adoption
adoption.find = lambda row, *_: adoption.Found("gone", "planted")
"""
PAUSED_IS_JUDGED: Final = """
from agentd.core import liveness, states
real = liveness.health_of
def health_of(agent, now_ms):
    if agent.state is states.State.PAUSED:
        return liveness._by_silence(agent, now_ms)
    return real(agent, now_ms)
liveness.health_of = health_of
"""
NOT_HELD: Final = """
from agentd.daemon.processes import Processes
Processes.freeze = Processes.thaw
"""
NOT_LET_GO: Final = """
from agentd.daemon.processes import Processes
Processes.thaw = lambda self, effect: None
"""
ID_LEFT_OUT: Final = """
from agentd.store import committer
real = committer.last_event_id
committer.last_event_id = lambda connection: real(connection) + 1
"""
IDS_FREED: Final = """
from agentd.store.committer import Committer
real = Committer.__init__
def begin(self, path, connection, *words, **more):
    real(self, path, connection, *words, **more)
    connection.execute("DELETE FROM events WHERE id > ?", (self._last_id - 2,))
Committer.__init__ = begin
"""
CHARGED_TWICE: Final = """
from agentd.core import ends
real = ends.follow_policy
def follow_policy(turn, agent, end):
    agent.durable.failures += end.failed
    real(turn, agent, end)
ends.follow_policy = follow_policy
"""
SIGNAL_BY_PID: Final = """
import os
from agentd.daemon import pidfds
pidfds.send = lambda pidfd, number: os.kill(pidfds._pid_of(pidfd), number)
"""
STATE_LOST: Final = """
from agentd.store import checkpoints
checkpoints.save = lambda *_: None
"""
ZOMBIE: Final = """
import os
from agentd.daemon.orphans import Orphans
Orphans.attend = lambda self: None
Orphans.reap = lambda self: None
os.fork() or os._exit(0)
"""
GROUP_LEFT: Final = """
from agentd.daemon.cgroups import CgroupForest, CgroupTree
CgroupTree.remove = lambda self: None
CgroupForest.tidy = lambda self, claimed: 0
"""
SHOWN_HEALTHIER: Final = """
import types
from agentd.core import liveness
from agentd.core.states import Health, Intent
from agentd.wire import documents
def health_of(agent, now_ms):
    is_down = agent.intent is Intent.UP and not agent.has_process
    return Health.HEALTHY if is_down else liveness.health_of(agent, now_ms)
documents.liveness = types.SimpleNamespace(**{**vars(liveness), "health_of": health_of})
"""


@dataclass(frozen=True, slots=True)
class Planted:
    """One bug, and an operation after which it must be noticed."""

    name: str
    invariant: str
    program: str
    operation: str = "checkpoint"
    needs_groups: bool = False
    in_vain: bool = False
    """Whether it is noticed by waiting for what never comes."""


PLANTED: Final = (
    Planted("a second copy", "INV1", SECOND_COPY),
    Planted("killed and started anew", "INV2", NOT_ADOPTED),
    Planted(
        "a killed one is started",
        "INV3",
        "from agentd.core import lifecycle\n"
        + restored(
            "if agent.name == 'down': agent.durable.intent = states.Intent.UP; "
            "lifecycle.want_start(turn, agent, 'planted'); "
            "agent.durable.intent = states.Intent.KILLED"
        ),
    ),
    Planted(
        "a killed one is wanted up",
        "INV3",
        restored("if agent.name == 'down': agent.durable.intent = states.Intent.UP"),
    ),
    Planted(
        "a paused one goes on",
        "INV4",
        "from agentd.core import pausing\n"
        + restored(
            "if agent.intent is states.Intent.PAUSED: pausing.resume(turn, agent, 'nobody', '')"
        ),
    ),
    Planted("a paused one is judged", "INV4", PAUSED_IS_JUDGED),
    Planted("a paused one is let go", "INV4", NOT_HELD, in_vain=True),
    Planted("one that was let go stands still", "INV2", NOT_LET_GO, "resume", in_vain=True),
    Planted(
        "a cooldown goes on while it is paused",
        "INV4",
        restored(
            "left_ms = agent.durable.cooldown_left_ms; "
            "agent.durable.cooldown_left_ms = left_ms and left_ms - 1; turn.touch(agent)"
        ),
    ),
    Planted(
        "a kill is not written",
        "INV5",
        lost(
            "getattr(row, 'agent', '') == 'target' "
            "and getattr(getattr(row, 'durable', None), 'intent', '') == 'killed'"
        ),
        "kill",
        in_vain=True,
    ),
    Planted(
        "an answer is forgotten", "INV5", lost("type(row).__name__ == 'RequestRow'"), "restart"
    ),
    Planted("an id is left out", "INV6", ID_LEFT_OUT),
    Planted("ids are freed", "INV6", IDS_FREED),
    Planted("a death is charged twice", "INV7", CHARGED_TWICE, "crash"),
    Planted("a start is not told", "INV7", untold("event == 'agent.started'"), "crash"),
    Planted(
        "an end is not told",
        "INV7",
        untold("event == 'agent.exited' and agent.name == 'target'"),
        "crash",
    ),
    Planted("failures are forgotten", "INV8", restored("agent.durable.failures = 0")),
    Planted(
        "a cooldown is cut short",
        "INV8",
        restored(
            "until_ms = agent.durable.cooldown_until_ms; "
            "agent.durable.cooldown_until_ms = until_ms and until_ms - 1000"
        ),
    ),
    Planted("a signal by a pid", "INV9", SIGNAL_BY_PID, "stop"),
    Planted(
        "the next daemon signals a stranger",
        "INV9",
        "import os\nfrom agentd.daemon import pidfds\n"
        + restored("fate.alive and pidfds.send(pidfds.open_pidfd(os.getppid()), 0)"),
    ),
    Planted("a state is lost", "INV10", STATE_LOST, "checkpoint"),
    Planted(
        "what was spent is forgotten",
        "INV11",
        restored("agent.durable.tokens = 0"),
        "budget exceeded",
    ),
    Planted("a zombie", "INV12", ZOMBIE, in_vain=True),
    Planted("a group is left", "INV12", GROUP_LEFT, "crash", needs_groups=True, in_vain=True),
    Planted(
        "a file is left open",
        "INV12",
        "import os\n" + restored("os.open('/dev/null', 0)"),
        in_vain=True,
    ),
    Planted("health is made up", "INV13", SHOWN_HEALTHIER),
    Planted(
        "given up twice",
        "INV14",
        restored(
            "if agent.state is states.State.ESCALATED: "
            "turn.journal('agent.escalated', agent, 'planted')"
        ),
    ),
)
