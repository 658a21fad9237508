"""The script: what is asked of the daemon, or done to it, while it is killed at each step of it."""

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.crash.bench import (
    A_DAY_S,
    EXTRA,
    FRAGILE,
    KEEPER,
    SPENDER,
    TARGET,
    TOKENS_MAX,
    Attempt,
    Bench,
)
from tests.crash.tracing import ALL, LOOP, OTHERS
from tests.daemon.harness import Document
from tests.faults.guard import environ_of

Shown = Callable[[Document], object]


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


def is_at(shown: Document, intent: str, state: str) -> bool:
    return (shown["intent"], shown["state"]) == (intent, state)


def is_running(shown: Document) -> bool:
    return is_at(shown, "up", "running") and shown["pid"] is not None


def is_stopped(shown: Document) -> bool:
    return is_at(shown, "stopped", "stopped")


def is_killed(shown: Document) -> bool:
    return is_at(shown, "killed", "stopped")


def is_paused(shown: Document) -> bool:
    return is_at(shown, "paused", "paused")


def running(name: str) -> Callable[[Bench], None]:
    """Have it run without any past."""

    def prepare(bench: Bench) -> None:
        shown = bench.daemon.status(name)
        if shown["held"]:
            bench.daemon.ask("unhold", select=[name])
        if shown["intent"] in ("paused", "killed"):
            bench.daemon.ask("resume", select=[name])
        elif shown["intent"] != "up" or shown["state"] in ("escalated", "cooldown"):
            bench.daemon.ask("start", select=[name])
        bench.daemon.until(name, is_running)
        if bench.daemon.status(name)["failures"]:
            bench.daemon.ask("reset", select=[name])

    return prepare


def brought_by(cmd: str, wanted: Shown) -> Callable[[Bench], None]:
    """Have it run, and then be as this command leaves it."""

    def prepare(bench: Bench) -> None:
        running(TARGET)(bench)
        bench.daemon.ask(cmd, select=[TARGET])
        bench.daemon.until(TARGET, wanted)

    return prepare


def asked(cmd: str) -> Callable[[Bench, str], Attempt]:
    return lambda bench, request: bench.command(cmd, request, select=[TARGET])


def struck(name: str) -> Callable[[Bench, str], Attempt]:
    """The agent is killed by a stranger: nobody asks for that, nobody is answered."""

    def begin(bench: Bench, request: str) -> Attempt:
        pid = bench.before.agents[name]["pid"]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return Attempt(request)

    return begin


def a_new_run_to_spend(bench: Bench) -> None:
    bench.daemon.ask("stop", select=[SPENDER])
    bench.daemon.until(SPENDER, is_stopped)
    bench.daemon.ask("start", select=[SPENDER], fresh=True)
    bench.daemon.until(SPENDER, is_running)


def spent(bench: Bench, request: str) -> Attempt:
    token = token_of(bench, SPENDER)
    usage = {"input_tokens": TOKENS_MAX + 1}
    line = {"type": "call", "phase": "end", "model": "m", "usage": usage, "call": request}
    return bench.say(token, {**line, "id": request})


def token_of(bench: Bench, name: str) -> str:
    return environ_of(bench.before.agents[name]["pid"])["AGENTD_TOKEN"]


def put(bench: Bench, request: str) -> Attempt:
    del request  # a repetition is another state
    attempt = bench.say(token_of(bench, KEEPER), bench.next_state())
    if attempt.acknowledged:
        bench.kept_acked = len(bench.kept) - 1
    return attempt


def intended(bench: Bench, request: str) -> Attempt:
    line = {"type": "intent", "id": request, "key": bench.deed, "action": "mail"}
    attempt = bench.say(token_of(bench, KEEPER), line)
    if attempt.acknowledged:
        bench.actions[bench.deed] = "intent"
    return attempt


def ended(bench: Bench, request: str) -> Attempt:
    bench.actions[bench.deed] = ""
    line = {"type": "done", "id": request, "key": bench.deed}
    attempt = bench.say(token_of(bench, KEEPER), line)
    if attempt.acknowledged:
        bench.actions[bench.deed] = "done"
    return attempt


def with_nothing_in_flight(bench: Bench) -> None:
    """What is to be done next is another deed each time: of one that is done nothing is written."""
    bench.before = bench.look()
    number = next(bench.numbers)
    if bench.deed:
        assert ended(bench, f"clean {number}").acknowledged
    bench.deed = f"deed {number}"


def with_a_deed_in_flight(bench: Bench) -> None:
    with_nothing_in_flight(bench)
    assert intended(bench, f"intend {next(bench.numbers)}").acknowledged


def in_flight(count: int) -> Shown:
    return lambda shown: shown["unfinished_actions"] == count


def a_new_file(bench: Bench) -> None:
    """Have a file come that was not there: the next reload has an agent to add."""
    place = bench.daemon.root / "agents.d" / f"{EXTRA}.toml"
    if place.exists():
        place.unlink()
        bench.daemon.ask("reload")
        bench.daemon.until_true(lambda: EXTRA not in bench.look().agents)
    bench.daemon.sleeper(EXTRA, seconds=A_DAY_S)


def another_command(bench: Bench) -> None:
    """Have the file of one that runs say another command: the next reload restarts it."""
    bench.daemon.sleeper(EXTRA, seconds=A_DAY_S)
    bench.daemon.ask("reload")
    bench.until(EXTRA, runs_for(A_DAY_S))
    bench.daemon.ask("reload")  # answered when that it runs is on disk: no event of it comes later
    bench.daemon.sleeper(EXTRA, seconds=2 * A_DAY_S)


def runs_for(seconds: int) -> Shown:
    """Whether it runs, and by a command that says so many seconds."""

    def look(shown: Document) -> bool:
        if not is_running(shown):
            return False
        words = Path(f"/proc/{shown['pid']}/cmdline").read_bytes().split(b"\0")
        return str(seconds).encode() in words

    return look


def reloaded(bench: Bench, request: str) -> Attempt:
    return bench.command("reload", request)


def reload_or_restart(bench: Bench, request: str) -> Attempt:
    """What is left to do of a reload that wasn't answered.

    A daemon that died has read the new file at its next start, and takes over what runs as it is.
    """
    attempt = reloaded(bench, request)
    if attempt.reply is None or attempt.reply["result"]["restarted"]:
        return attempt
    return bench.command("restart", f"{request}-it", select=[EXTRA])


def alert_sent(bench: Bench) -> bool:
    [[waiting]] = bench.rows("SELECT count(*) FROM deliveries WHERE state = 'waiting'")
    return bool(waiting == 0)


def let_go(bench: Bench, request: str) -> Attempt:
    """It stands still since it was begun; let go, it finds all agents alive."""
    os.kill(bench.daemon.pid, signal.SIGCONT)
    return Attempt(request)


def reexecuted(bench: Bench, request: str) -> Attempt:
    bench.mark_log()
    bench.daemon.heard()
    bench.daemon.signal(signal.SIGUSR2)
    return Attempt(request)


def is_ready(bench: Bench) -> bool:
    return any("READY=1" in said.splitlines() for said in bench.daemon.heard())


def next_image_is_ready(bench: Bench) -> bool:
    """Ready, or it refused: an image that has been begun stands still until it is let go."""
    bench.let_image_go()
    return is_ready(bench) or "daemon.reexec asked_by=SIGUSR2 why=" in bench.logged()


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
        Operation("crash", running(TARGET), struck(TARGET), (TARGET, "agent.ready")),
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
