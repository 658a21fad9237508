"""[pause]: how an agent is held back, and what pause, resume and kill each do with its work."""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.traces import (
    beat,
    chain,
    checkpoint,
    command,
    cycles,
    daemon_away,
    done,
    end,
    exits,
    intent,
    recall,
    world,
)

CHECKPOINT: Final = 'pause = { mode = "checkpoint", checkpoint_timeout = "60s" }\n'
BEATS: Final = "heartbeat.required = true\n"
HELD_BACK: Final = ("100 agent.paused USER_PAUSED", "100 freeze")
GOES_ON: Final = ("agent.resumed", "thaw")

MODES: Final = (
    Scenario(
        "freeze: the tree stops where it stands, and goes on where it stood",
        ("pause.mode = freeze",),
        [command(100, "pause"), command(5000, "resume"), end(5100)],
        told=(*HELD_BACK, "5000 agent.resumed", "5000 thaw"),
        never=("alert",),
    ),
    Scenario(
        "who stands still says nothing: what a trace has of that time is left out",
        ("pause.mode = freeze",),
        [command(100, "pause"), beat(200, cost_usd=9.0), command(300, "resume"), end(400)],
        "budget.usd_per_run = 1.0\n",
        (*HELD_BACK, "300 agent.resumed", "300 thaw"),
    ),
    Scenario(
        "paused time is charged to no timer: its silence isn't silence",
        ("pause.mode = freeze",),
        chain(cycles(0, 4), command(100, "pause"), command(5000, "resume"), end(5070)),
        "heartbeat.interval = '30s'\nheartbeat.max_silence = '1h'\n",
        (*HELD_BACK, "5000 agent.resumed", "5000 thaw"),
    ),
    Scenario(
        "checkpoint: asked to commit and exit; resume starts it again",
        ("pause.mode = checkpoint", "pause.checkpoint_timeout below"),
        [
            checkpoint(50, done=3),
            command(100, "pause"),
            exits(159.9, 0),
            command(5000, "resume"),
            end(5100),
        ],
        CHECKPOINT,
        (
            "100 agent.paused USER_PAUSED",
            "159.9 agent.exited USER_PAUSED",
            "5000 agent.resumed",
            "5000 spawn incarnation=2",
        ),
        never=("freeze", "kill_tree", "agent.escalated", "alert"),
    ),
    Scenario(
        "checkpoint: who doesn't exit in time is stopped",
        ("pause.checkpoint_timeout beyond",),
        [command(100, "pause"), end(5100)],
        CHECKPOINT,
        (
            "100 agent.paused USER_PAUSED",
            "160 signal SIGTERM",
            "160.1 agent.exited USER_PAUSED",
        ),
        never=("freeze", "alert", "agent.cooldown"),
    ),
    Scenario(
        "a paused agent stays so over a crash of agentd",
        ("pause.mode = freeze",),
        [command(100, "pause"), *daemon_away(200, 300), command(400, "resume"), end(500)],
        told=(*HELD_BACK, "400 agent.resumed", "400 thaw"),
        anything_else=True,
        never=("agent.exited",),
    ),
    Scenario(
        "an agent committed and away stays so over a crash of agentd",
        ("pause.mode = checkpoint",),
        [
            command(100, "pause"),
            exits(110, 0),
            *daemon_away(200, 300),
            command(400, "resume"),
            end(500),
        ],
        CHECKPOINT,
        (
            "100 agent.paused USER_PAUSED",
            "110 agent.exited USER_PAUSED",
            "400 agent.resumed",
            "400 spawn incarnation=2",
        ),
    ),
)

CUT_OFF: Final = '{"key":"refund:918","action":"stripe.refund","idempotent":false,"t":50}'

WORK: Final = (
    Scenario(
        "the next incarnation finds what was kept, and what was in flight",
        ("restart.hold_unfinished = false",),
        [checkpoint(40, done=3), intent(50), exits(100), recall(110), done(120), recall(130)],
        told=(
            "100 agent.exited EXITED",
            "100 action.unfinished critical",
            "100 spawn incarnation=2",
            f'110 answer state={{"done":3}} unfinished=[{CUT_OFF}]',
            '130 answer state={"done":3} unfinished=[]',
        ),
    ),
    Scenario(
        "and finds it, too, when agentd has died in between",
        ("restart.hold_unfinished = false",),
        [
            checkpoint(40, done=3),
            intent(50),
            *daemon_away(60, 70),
            exits(100),
            *daemon_away(105, 106),
            recall(110),
        ],
        told=(
            "100 agent.exited EXITED",
            "100 action.unfinished critical",
            "100 spawn incarnation=2",
            f'110 answer state={{"done":3}} unfinished=[{CUT_OFF}]',
        ),
    ),
    Scenario(
        "the work that goes on isn't told of its own actions",
        ("restart.hold_unfinished = false",),
        [intent(50), recall(60)],
        told=("60 answer state=None unfinished=[]",),
    ),
    Scenario(
        "after a kill a new execution begins, and finds nothing",
        ("restart.hold_unfinished = true",),
        [
            checkpoint(40, done=3),
            intent(50),
            command(100, "kill"),
            command(200, "resume"),
            recall(210),
        ],
        "restart.hold_unfinished = true\n",
        (
            "100 agent.killed USER_KILLED",
            "100 action.unfinished info",
            "100 kill_tree",
            "100 agent.exited USER_KILLED",
            "200 agent.resumed",
            "200 spawn incarnation=2",
            "210 answer state=None unfinished=[]",
        ),
        never=("agent.held", "alert"),
    ),
    Scenario(
        "a kill ends the execution: what was in flight is discarded, told once, and stays killed",
        ("restart.hold_unfinished = true",),
        [
            intent(50),
            command(100, "kill"),
            *daemon_away(200, 300),
            command(400, "resume"),
            exits(500),
            end(900),
        ],
        "restart.hold_unfinished = true\n",
        (
            "100 agent.killed USER_KILLED",
            "100 kill_tree",
            "100 agent.exited USER_KILLED",
            "400 spawn incarnation=2",
            "500 agent.exited EXITED",
            "500 spawn incarnation=3",
        ),
        never=("agent.held",),
        anything_else=True,
    ),
    Scenario(
        "what isn't safe to repeat holds the restart for a human",
        ("restart.hold_unfinished = true",),
        [intent(50), exits(100), end(9000)],
        "restart.hold_unfinished = true\n",
        ("100 agent.exited EXITED", "100 action.unfinished critical", "100 agent.held"),
    ),
    Scenario(
        "and unhold lets it go",
        ("restart.hold_unfinished = true",),
        [intent(50), exits(100), command(5000, "unhold"), end(9000)],
        "restart.hold_unfinished = true\n",
        (
            "100 agent.exited EXITED",
            "100 action.unfinished",
            "100 agent.held",
            "5000 agent.unheld",
            "5000 spawn incarnation=2",
        ),
    ),
    Scenario(
        "it is held over a crash of agentd too",
        ("restart.hold_unfinished = true",),
        [intent(50), exits(100), *daemon_away(200, 300), end(9000)],
        "restart.hold_unfinished = true\n",
        ("100 agent.exited EXITED", "100 action.unfinished", "100 agent.held"),
    ),
    Scenario(
        "what happened while agentd was away holds it as well",
        ("restart.hold_unfinished = true",),
        [
            intent(50),
            {"t": 60, "daemon": "crash"},
            exits(100),
            {"t": 200, "daemon": "start"},
            end(9000),
        ],
        "restart.hold_unfinished = true\n",
        ("200 agent.exited EXITED", "200 action.unfinished", "200 agent.held"),
    ),
    Scenario(
        "an action that has ended holds nothing",
        ("restart.hold_unfinished = true",),
        [intent(50), done(60), exits(100), end(900)],
        "restart.hold_unfinished = true\n",
        ("100 agent.exited EXITED", "100 spawn incarnation=2"),
    ),
    Scenario(
        "nor does one that may be repeated",
        ("restart.hold_unfinished = true",),
        [intent(50, idempotent=True), exits(100), end(900)],
        "restart.hold_unfinished = true\n",
        ("100 agent.exited EXITED", "100 action.unfinished warning", "100 spawn incarnation=2"),
    ),
    Scenario(
        "unasked, nothing is held: the next incarnation is told",
        ("restart.hold_unfinished = false",),
        [intent(50), exits(100), end(900)],
        told=("100 agent.exited EXITED", "100 action.unfinished critical", "100 spawn"),
    ),
    Scenario(
        "a pause ends nothing: what was in flight is in flight after it",
        ("pause.mode = freeze",),
        [intent(50), command(100, "pause"), command(200, "resume"), exits(300), end(400)],
        "restart.hold_unfinished = true\n",
        (
            *HELD_BACK,
            "200 agent.resumed",
            "200 thaw",
            "300 agent.exited EXITED",
            "300 action.unfinished",
            "300 agent.held",
        ),
    ),
    Scenario(
        "a provider that asks to wait parks the agent, and no failure is counted",
        ("pause.mode = freeze",),
        [
            beat(10, status="error", retry_after_s=600),
            exits(20),
            beat(620, status="error", retry_after_s=600),
            exits(630),
            end(2000),
        ],
        told=(
            "10 agent.parked",
            "20 agent.exited",
            "610 spawn incarnation=2",
            "620 agent.parked",
            "630 agent.exited",
            "1220 spawn incarnation=3",
        ),
        never=("agent.cooldown", "agent.escalated"),
    ),
    Scenario(
        "nobody is paged for what an operator did",
        ("pause.mode = freeze",),
        [
            intent(50),
            command(100, "pause"),
            command(200, "resume"),
            command(300, "kill"),
            end(400),
        ],
        told=(*HELD_BACK, "200 agent.resumed", "200 thaw", "300 agent.killed", "300 kill_tree"),
        never=("alert",),
        anything_else=True,
    ),
)


def _deaf(kills_s: float) -> Scenario:
    """What does not hear SIGTERM either is killed when its stop_timeout is over."""
    return Scenario(
        "checkpoint: and who is deaf is killed",
        ("pause.checkpoint_timeout beyond",),
        [world(0, deaf_to_sigterm=True), command(100, "pause"), end(500)],
        CHECKPOINT + "stop_timeout = '10s'\n",
        (
            "100 agent.paused USER_PAUSED",
            "160 signal SIGTERM",
            f"{kills_s:g} kill_tree",
            f"{kills_s:g} agent.exited USER_PAUSED",
        ),
    )


SCENARIOS: Final = (*MODES, _deaf(170), *WORK)
