"""Group A: an agent dies. Real processes, a real daemon, and a bystander that must not notice."""

import json
import os
import signal
import time
from datetime import datetime
from itertools import pairwise

from tests.daemon.harness import PYTHON, RUN, Document, alive
from tests.faults.guard import INNOCENT, Fleet
from tests.stopwatch import Stopwatch

NO_BEATS = "[heartbeat]\nrequired = false\n"


def moments(events: list[Document], kind: str) -> list[float]:
    """When events of a kind happened, in seconds."""
    return [
        datetime.fromisoformat(event["time"]).timestamp()
        for event in events
        if event["event"] == kind
    ]


def test_a1_an_exit_with_0_is_completed_and_only_always_restarts_it(fleet: Fleet) -> None:
    fleet.shell("once", "exit 0")
    fleet.shell("ever", "sleep 0.3; exit 0", '[restart]\npolicy = "always"\ncooldown = "1s"')
    fleet.start()
    shown = fleet.until_state("once", "completed")
    assert (shown["last_exit"]["reason"], shown["last_exit"]["code"]) == ("COMPLETED", 0)
    assert shown["failures"] == 0
    shown = fleet.until("ever", lambda s: s["restarts"] >= 2)
    assert (shown["failures"], shown["last_exit"]["reason"]) == (0, "COMPLETED")


def test_a2_the_first_restart_comes_at_once_and_the_second_waits_the_cooldown(fleet: Fleet) -> None:
    fleet.shell("three", "echo said; sleep 0.2; exit 3", '[restart]\ncooldown = "3s"')
    watch = Stopwatch()
    fleet.start()
    shown = fleet.until_state("three", "escalated")
    assert (shown["last_exit"]["reason"], shown["last_exit"]["code"]) == ("EXITED", 3)
    assert shown["failures"] == 3
    # What is shown may be some ms ahead of what is written.
    fleet.until_true(lambda: fleet.events("three", "agent.escalated"))
    told = fleet.events("three")
    begun, ended = moments(told, "agent.starting"), moments(told, "agent.exited")
    assert (len(begun), len(ended)) == (3, 3)
    assert watch.within(1.0, begun[1] - ended[0])  # at once
    # Start to start; an entry gets its time when it is written down, which may be late.
    assert begun[2] - begun[1] >= 2.9 - watch.starved_s
    assert [event["event"] for event in told].count("agent.cooldown") == 1


def test_a2_the_last_20_lines_of_each_log_are_in_its_incident(fleet: Fleet) -> None:
    """They are those of the run that ended, though the next one began at once and wrote more."""
    script = 'for i in $(seq 30); do echo "$AGENTD_INCARNATION line $i"; done; sleep 0.2; exit 3'
    fleet.shell("three", script, '[restart]\ncooldown = "1s"')
    fleet.start()
    fleet.until_state("three", "escalated")
    looks: list[Document] = []

    def kept() -> bool:
        (incident,) = fleet.ask("incidents", select=["three"])["incidents"]
        evidence = fleet.ask("incidents", id=incident["id"])["evidence"]
        looks[:] = [evidence, *evidence["agents"]]
        return len(looks) == 3

    fleet.until_true(kept, lambda: json.dumps(looks))
    runs = set()
    for look in looks:
        assert look["kind"] == "death"
        assert (look["exit"]["code"], look["exit"]["reason"]) == (3, "EXITED")
        tail = look["log_tail"]
        run = tail[0].partition(" ")[0]
        assert tail == [f"{run} line {number}" for number in range(11, 31)]
        runs.add(run)
    assert len(runs) == 3


def test_a3_a_kill_from_outside_is_a_crash_without_oom_evidence(fleet: Fleet) -> None:
    fleet.sleeper("one")
    fleet.start()
    pid = fleet.until_state("one", "running")["pid"]
    killed_at, watch = time.time(), Stopwatch()
    os.kill(pid, signal.SIGKILL)
    last = fleet.until("one", lambda s: s["last_exit"] is not None)["last_exit"]
    assert (last["reason"], last["signal"], last["code"]) == ("CRASHED", 9, None)
    assert "sender unknown, no OOM evidence" in last["evidence"]
    fleet.until_state("one", "running")
    # The status tells of an end at once, the journal when it is on disk.
    fleet.until_true(lambda: fleet.events("one", "agent.exited"))
    (told,) = moments(fleet.events("one"), "agent.exited")
    assert watch.within(1.0, told - killed_at)
    fleet.seen.append(f"CRASHED, signal 9, told after {told - killed_at:.2f} s")


def test_a3_an_exit_code_of_137_is_an_exit_code(fleet: Fleet) -> None:
    fleet.shell("shell", "sh -c 'kill -9 $$'; exit 137", "[restart]\npolicy = 'never'")
    fleet.start()
    last = fleet.until("shell", lambda s: s["last_exit"] is not None)["last_exit"]
    assert (last["reason"], last["code"], last["signal"]) == ("EXITED", 137, None)


def test_a8_one_that_dies_at_once_is_given_up_after_its_third_failure(fleet: Fleet) -> None:
    fleet.shell("hasty", "exit 1", '[restart]\ncooldown = "2s"')
    watch = Stopwatch()
    fleet.start()
    shown = fleet.until_state("hasty", "escalated")
    assert (shown["failures"], shown["pid"]) == (3, None)
    # The status tells of it at once, the journal when it is on disk.
    fleet.until_true(lambda: fleet.events("hasty", "agent.escalated"))
    told = fleet.events("hasty")
    begun = moments(told, "agent.starting")
    assert len(begun) == 3
    assert watch.within(1.0, begun[1] - begun[0])
    # An entry gets its time when it is written down, which may be late.
    assert begun[2] - begun[1] >= 1.95 - watch.starved_s
    assert [event["event"] for event in told].count("agent.escalated") == 1


def test_a8_without_a_cooldown_there_is_never_more_than_one_spawn_a_second(fleet: Fleet) -> None:
    text = '[restart]\ncooldown = "0s"\nfailures_max = 5'
    fleet.shell("hasty", "exit 1", text)
    watch = Stopwatch()
    fleet.start()
    fleet.until_state("hasty", "escalated")
    begun = moments(fleet.events("hasty"), "agent.starting")
    assert len(begun) == 5
    gaps = [later - earlier for earlier, later in pairwise(begun[1:])]
    assert min(gaps) >= 0.95 - watch.starved_s
    # However late each was written down: the second comes at once, the other three take 1 s each.
    assert watch.wall_s >= 3.0


def test_a9_what_cannot_be_run_is_named_with_errno_path_and_hint(fleet: Fleet) -> None:
    root = fleet.root
    (root / "plain").write_text("#!/bin/sh\nexit 0\n")
    (root / "odd").write_text("#!/no/such/interpreter\n")
    (root / "odd").chmod(0o755)
    cases = {
        "missing": ("/no/such/program", "ENOENT", ""),
        "folder": (str(root / "agents.d"), "EACCES", "(it is a directory)"),
        "plain": (str(root / "plain"), "EACCES", f"(not executable; chmod +x {root}/plain)"),
        "odd": (str(root / "odd"), "ENOENT", "(interpreter not found: /no/such/interpreter)"),
    }
    for name, (command, _, _) in cases.items():
        fleet.agent(name, [command], NO_BEATS)
    fleet.start()
    for name, (command, errno, hint) in cases.items():
        told = refused(fleet, name)
        assert told.startswith(f"{errno}: {command}: "), (name, told)
        assert told.endswith(hint), (name, told)


def refused(fleet: Fleet, name: str) -> str:
    """Why an agent's start failed, once that is counted as a failure of it."""
    shown = fleet.until(name, lambda s: s["reason"] == "SPAWN_FAILED" and s["failures"] >= 1)
    assert shown["pid"] is None
    # What the host is short of is tried again, and is no failure.
    assert not [event for event in fleet.events(name) if "tried again" in event["message"]]
    evidence: str = shown["evidence"]
    return evidence


def test_a10_a_start_that_the_system_refuses_fails_alone(fleet: Fleet) -> None:
    fleet.sleeper("fine")
    fleet.sleeper("nowhere", 'directory = "/no/such/place"')
    fleet.sleeper("nobody", 'user = "no-such-user"')
    fleet.sleeper("big", f'environment = {{ BIG = "{"x" * 200_000}" }}')
    fleet.start()
    assert fleet.until_state("fine", "running")["failures"] == 0
    cases = {
        "nowhere": "ENOENT: /no/such/place: ",
        "nobody": "EINVAL: user 'no-such-user': ",
        "big": "E2BIG: environment variable BIG",
    }
    for name, words in cases.items():
        told = refused(fleet, name)
        assert told.startswith(words), (name, told)


def test_a13_fifty_killed_in_one_loop_are_fifty_exact_ends_and_fifty_starts(fleet: Fleet) -> None:
    names = [f"n{number:02}" for number in range(50)]
    for name in names:
        fleet.sleeper(name)
    fleet.start()
    before = pids(fleet, names)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    watch = Stopwatch()

    def all_up() -> bool:
        shown = {agent["name"]: agent for agent in fleet.ask("status")["agents"]}
        return all(
            shown[name]["state"] == "running" and shown[name]["pid"] != before[name]
            for name in names
        )

    fleet.until_true(all_up)
    in_time, fair_s = watch.within(2.0), watch.fair_s
    for agent in fleet.ask("status")["agents"]:
        if agent["name"] == INNOCENT:
            continue
        assert (agent["restarts"], agent["failures"]) == (1, 1)
        assert (agent["last_exit"]["signal"], agent["last_exit"]["reason"]) == (9, "CRASHED")
    assert in_time, (watch.wall_s, fair_s)
    for name in names:
        assert len(fleet.events(name, "agent.starting")) == 2, "one restart each, and no more"
    fleet.seen.append(f"50 exact ends, 50 single restarts, all up after {fair_s:.1f} s")


def pids(fleet: Fleet, names: list[str]) -> dict[str, int]:
    """The pids of agents, once all of them run."""
    found: dict[str, int] = {}

    def look() -> bool:
        shown = {agent["name"]: agent for agent in fleet.ask("status")["agents"]}
        found.update({name: shown[name]["pid"] for name in names})
        return all(shown[name]["state"] == "running" for name in names)

    fleet.until_true(look)
    return found


def test_a14_an_end_before_the_first_heartbeat_never_became_ready(fleet: Fleet) -> None:
    fleet.shell("early", "sleep 0.2; exit 0", "[restart]\npolicy = 'never'", required=True)
    fleet.shell("hurt", "sleep 0.2; exit 7", "[restart]\npolicy = 'never'", required=True)
    fleet.start()
    shown = fleet.until("hurt", lambda s: s["last_exit"] is not None)
    assert (shown["last_exit"]["reason"], shown["last_exit"]["code"]) == ("EXITED", 7)
    assert "never became ready" in shown["last_exit"]["evidence"]
    assert shown["failures"] == 1
    # Done is done: by A1 an exit with 0 is no failure. That it never said so is told all the same.
    shown = fleet.until_state("early", "completed")
    assert (shown["last_exit"]["reason"], shown["failures"]) == ("COMPLETED", 0)
    fleet.until_true(lambda: fleet.events("early", "agent.completed"))
    (completed,) = fleet.events("early", "agent.completed")
    assert completed["severity"] == "warning"
    for words in ("never became ready", 'it never said "done" or "draining"'):
        assert words in completed["message"], completed["message"]
    fleet.until_true(lambda: fleet.ask("incidents", select=["early"])["incidents"])


def test_a14_one_that_never_beats_is_ended_at_its_startup_timeout(fleet: Fleet) -> None:
    fleet.sleeper("silent")
    text = 'startup_timeout = "500ms"\n[restart]\npolicy = "never"'
    fleet.agent("silent", ["sleep", "600"], text)
    fleet.start()
    shown = fleet.until("silent", lambda s: s["last_exit"] is not None)
    assert shown["last_exit"]["reason"] == "STARTUP_TIMEOUT"
    assert "never became ready within 500ms" in shown["last_exit"]["evidence"]
    assert shown["failures"] == 1


def test_a20_a_launcher_that_ignores_sigchld_costs_no_status(fleet: Fleet) -> None:
    fleet.shell("seven", "sleep 0.2; exit 7", "[restart]\npolicy = 'never'")
    fleet.sleeper("one")
    script = f"trap '' CHLD; exec {PYTHON} -c '{RUN}' {fleet.config}"
    fleet.start_as(["/bin/sh", "-c", script])
    last = fleet.until("seven", lambda s: s["last_exit"] is not None)["last_exit"]
    assert (last["reason"], last["code"]) == ("EXITED", 7)
    pid = fleet.until_state("one", "running")["pid"]
    os.kill(pid, signal.SIGKILL)
    last = fleet.until("one", lambda s: s["last_exit"] is not None)["last_exit"]
    assert (last["reason"], last["signal"]) == ("CRASHED", 9)
    assert not alive(pid), json.dumps(last)
