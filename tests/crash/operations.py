"""The script: what is asked of the daemon, or done to it, while it is killed at each step of it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.crash.bench import (
    A_DAY_S,
    EXTRA,
    FRAGILE,
    KEEPER,
    SPENDER,
    TARGET,
    Attempt,
    Bench,
)
from tests.crash.deeds import (
    Shown,
    a_new_file,
    a_new_run_to_spend,
    acknowledged,
    alert_sent,
    another_command,
    asked,
    brought_by,
    ended,
    given_up_anew,
    in_flight,
    intended,
    is_given_up,
    is_killed,
    is_paused,
    is_ready,
    is_running,
    is_stopped,
    let_go,
    next_image_is_ready,
    put,
    reexecuted,
    reload_or_restart,
    reloaded,
    running,
    runs_for,
    spent,
    stays_acknowledged,
    struck,
    with_a_deed_in_flight,
    with_nothing_in_flight,
)
from tests.crash.tracing import ALL, LOOP, OTHERS


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the script."""

    name: str
    prepare: Callable[[Bench], None]
    """Brings the agent to where the operation begins, whatever went before."""
    begin: Callable[[Bench, str], Attempt]
    """Asks or does it, under a request id; the reply is None where the daemon died first."""
    effect: tuple[str, str] | None = None
    """Agent and event of which there is one more when it is done, and no more than one."""
    agent: str = TARGET
    expect: Shown = lambda _: True
    """What is shown of the agent in the end."""
    replayed: bool = True
    """Whether its repetition under the same id gets the same answer."""
    durable: bool = True
    """Whether its effect is on the disk before it is answered, as a sum that was spent is not."""
    parts: tuple[str, ...] = (LOOP, OTHERS)
    done: Callable[[Bench], bool] = lambda _: True
    """What else must be so until it is over, without asking the daemon."""
    kept: Callable[[Bench], bool] = lambda _: True
    """What else must be so in the end, of what the daemon shows."""
    stand: Callable[[Bench], None] | None = None
    """Brings about a daemon that has just begun and stands still: with that it begins."""
    begins: bool = False
    """Whether a daemon starts in it: one that is short of something may say so, and end."""
    points_max: int = 1_000
    """Of each call so many points at most: some operations take many seconds each time."""
    again: Callable[[Bench, str], Attempt] | None = None
    """How it is asked for again; None: as the first time."""

    def times(self, bench: Bench, cursor: int) -> int | None:
        """How often it has taken effect since; None: there is no event that tells."""
        return None if self.effect is None else bench.happened(*self.effect, cursor)

    def is_over(self, bench: Bench, cursor: int) -> bool:
        """Whether the daemon has nothing to do for it any more; asks it nothing."""
        return self.times(bench, cursor) != 0 and self.done(bench)


def by_operators() -> list[Operation]:
    alive = running(TARGET)
    is_held: Shown = lambda shown: shown["held"] and is_running(shown)  # noqa: E731 - named once
    held = brought_by("hold", is_held)
    return [
        Operation(
            "start",
            brought_by("stop", is_stopped),
            asked("start"),
            (TARGET, "agent.ready"),
            expect=is_running,
        ),
        Operation("stop", alive, asked("stop"), (TARGET, "agent.stopped"), expect=is_stopped),
        Operation("restart", alive, asked("restart"), (TARGET, "agent.ready"), expect=is_running),
        Operation("kill", alive, asked("kill"), (TARGET, "agent.exited"), expect=is_killed),
        Operation("pause", alive, asked("pause"), (TARGET, "agent.paused"), expect=is_paused),
        Operation(
            "resume",
            brought_by("pause", is_paused),
            asked("resume"),
            (TARGET, "agent.resumed"),
            expect=is_running,
        ),
        Operation("hold", alive, asked("hold"), (TARGET, "agent.held"), expect=is_held),
        Operation("unhold", held, asked("unhold"), (TARGET, "agent.unheld"), expect=is_running),
        Operation(
            "ack",
            given_up_anew,
            acknowledged,
            (FRAGILE, "incident.updated"),
            agent=FRAGILE,
            expect=is_given_up,
            kept=stays_acknowledged,
        ),
        Operation(
            "reload",
            a_new_file,
            reloaded,
            (EXTRA, "agent.ready"),
            agent=EXTRA,
            expect=is_running,
            replayed=False,
        ),
        Operation(
            "reconfigure",
            another_command,
            reloaded,
            (EXTRA, "agent.ready"),
            agent=EXTRA,
            expect=runs_for(2 * A_DAY_S),
            replayed=False,
            again=reload_or_restart,
        ),
    ]


def by_agents() -> list[Operation]:
    return [
        Operation(
            "checkpoint",
            running(KEEPER),
            put,
            agent=KEEPER,
            replayed=False,
        ),
        Operation(
            "action intent",
            with_nothing_in_flight,
            intended,
            agent=KEEPER,
            expect=in_flight(1),
            replayed=False,
        ),
        Operation(
            "action done",
            with_a_deed_in_flight,
            ended,
            agent=KEEPER,
            expect=in_flight(0),
            replayed=False,
        ),
        Operation(
            "budget exceeded",
            a_new_run_to_spend,
            spent,
            (SPENDER, "agent.paused"),
            agent=SPENDER,
            expect=is_paused,
            replayed=False,
            durable=False,
        ),
    ]


def by_the_world() -> list[Operation]:
    every = (ALL,)
    escalated: Shown = lambda shown: shown["state"] == "escalated"  # noqa: E731 - named once
    fragile, given_up = running(FRAGILE), (FRAGILE, "agent.escalated")
    return [
        Operation(
            "crash", running(TARGET), struck(TARGET), (TARGET, "agent.ready"), expect=is_running
        ),
        Operation("escalation", fragile, struck(FRAGILE), given_up, FRAGILE, escalated),
        Operation(
            "alert",
            fragile,
            struck(FRAGILE),
            given_up,
            FRAGILE,
            escalated,
            parts=every,
            done=alert_sent,
        ),
        Operation(
            "adoption",
            running(TARGET),
            let_go,
            parts=every,
            done=is_ready,
            stand=Bench.crash_and_start_stopped,
            begins=True,
        ),
        Operation(
            "re-exec",
            running(TARGET),
            reexecuted,
            done=next_image_is_ready,
            begins=True,
        ),
        Operation(
            "next image",
            running(TARGET),
            let_go,
            parts=every,
            done=is_ready,
            stand=Bench.become_image,
            begins=True,
            points_max=3,
        ),
    ]


OPERATIONS: list[Operation] = [*by_operators(), *by_agents(), *by_the_world()]
