"""What the script asks of the daemon or does to it, and how each thing is brought about."""

import contextlib
import os
import signal
from collections.abc import Callable
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
from tests.daemon.harness import Document
from tests.faults.guard import environ_of

Shown = Callable[[Document], object]


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


def given_up_anew(bench: Bench) -> None:
    """Have it given up, in an incident of which nobody has taken note."""
    bench.daemon.ask("stop", select=[FRAGILE])
    bench.until(FRAGILE, lambda shown: is_stopped(shown) and shown["open_incident"] is None)
    running(FRAGILE)(bench)
    # By another signal than the others were: what fails like another right after is part of that
    # one's incident, of which somebody may have taken note.
    os.kill(bench.daemon.status(FRAGILE)["pid"], signal.SIGTERM)
    bench.until(FRAGILE, is_given_up)
    # All that is told of it by then is on the disk, too.
    bench.daemon.until_true(lambda: is_news(incident_of(bench)), lambda: str(incident_of(bench)))


def is_given_up(shown: Document) -> bool:
    return shown["state"] == "escalated" and shown["open_incident"] is not None


def acknowledged(bench: Bench, request: str) -> Attempt:
    return bench.command("ack", request, id=bench.before.agents[FRAGILE]["open_incident"])


def incident_of(bench: Bench) -> Document:
    """Its incident, as the store has it."""
    return bench.daemon.ask("incidents", id=bench.daemon.status(FRAGILE)["open_incident"])


def is_news(incident: Document) -> bool:
    told = (incident["open"], incident["severity"], incident["acknowledged_by"])
    return told == (True, "critical", None)


def stays_acknowledged(bench: Bench) -> bool:
    """Whether both the store and the daemon know of it, which would remind of it otherwise."""
    told: str = bench.daemon.ask("ack", id=incident_of(bench)["id"])["message"]
    return told.startswith("acknowledged already by") and bool(
        incident_of(bench)["acknowledged_by"]
    )


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
