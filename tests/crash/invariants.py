"""INV1 to INV14: what must be true after every crash and every error, and how it is looked at.

What can be seen from outside is looked at there: /proc, cgroups, the socket, the store's tables,
the calls that strace has seen. Of INV13 only the part is recomputed that shows in `status`; that
`core.liveness.health_of` is the one function behind it is for `tests/core` and the simulator.
"""

import contextlib
import hashlib
import os
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from agentd.daemon import grounds
from agentd.daemon.assembly import ground_name
from tests.crash.bench import FRAGILE, KEEPER, SPENDER, TOKENS_MAX, Attempt, Bench
from tests.crash.operations import Operation
from tests.daemon.harness import Document

_TARGET_OF: re.Pattern[str] = re.compile(r"^\d+<pid:(\d+)>, (\w+)")
_GROUP_FILE: re.Pattern[str] = re.compile(r"^\d+<[^>]*/run-([^/>]+)/cgroup\.kill>")
# Of a process that is gone strace doesn't know the number; nobody was reached. Where the daemon
# was killed meanwhile the call has no result either.
_NOBODY = re.compile(r"= -1 ESRCH|^\d+<anon_inode:\[pidfd\]>.* <unfinished \.\.\.>$")
DOWN = ("stopped", "killed")
PAUSE_ENDS = ("agent.degraded", "agent.unreachable", "agent.exited", "agent.resumed")
REST = ("cooldown", "escalated", "parked", "completed")
# Operations in which an agent dies: so often is it charged for that. In all others, never.
DEATHS = {"crash": 1, "escalation": 1, "alert": 1, "ack": 1}


@dataclass
class After:
    """What was seen of one operation until the next daemon had recovered."""

    operation: Operation
    attempt: Attempt
    followed: list[Document] = field(default_factory=list)
    calls: list[tuple[int, str, str]] = field(default_factory=list)
    children: set[str] = field(default_factory=set)
    """Pids of what the daemon began meanwhile."""
    story: str = ""
    followed_by: list[tuple[int, str, str]] = field(default_factory=list)
    """The calls of the next daemon, from its first one on, where it was traced."""


def check(bench: Bench, after: After) -> None:
    """All fourteen, once the operation has come to its end. AssertionError names the one."""
    shown = {agent["name"]: agent for agent in bench.daemon.ask("status")["agents"]}
    asked_s = time.monotonic()
    inv3_who_shall_not_run_does_not(bench, shown, after)
    inv2_who_shall_run_runs(bench, shown, after)
    inv1_at_most_one_living_tree_an_agent(bench, after.story)  # all that shall run does by now
    inv4_paused_stays_paused(bench, shown, after)
    inv6_events_have_no_gap_and_none_is_taken_back(bench, after)
    inv7_one_start_and_at_most_one_end(bench, shown, after)
    inv8_no_failure_and_no_cooldown_is_forgotten(bench, shown, after, asked_s)
    inv9_signals_go_to_whom_they_were_meant_for(bench, after)
    inv10_the_last_acknowledged_state_is_whole(bench, after)
    inv11_what_was_spent_stays_spent(bench, shown, after)
    inv12_nothing_is_left_behind(bench, after)
    inv13_health_is_what_its_facts_say(shown, after)
    inv14_given_up_once_an_episode(bench, after)


def inv1_at_most_one_living_tree_an_agent(bench: Bench, story: str) -> None:
    """By /proc: processes that lead a session and carry our socket in their environment."""
    twice = {name: count for name, count in bench.leaders().items() if count > 1}
    assert not twice, ("INV1", twice, story)


def inv2_who_shall_run_runs(bench: Bench, shown: dict[str, Document], after: After) -> None:
    for name, agent in shown.items():
        if agent["intent"] == "up" and not agent["held"] and agent["state"] not in REST:
            bench.until(name, is_at_ease, f"INV2 {after.story}")
    for name, pid in bench.pids.items():
        assert shown[name]["pid"] == pid, ("INV2", name, pid, shown[name], after.story)
    for name, pid in processes_in("running", shown):
        bench.daemon.until_true(
            lambda pid=pid: not bench.stands_still(pid),
            lambda name=name: f"INV2 {name} stands still: {after.story}",
        )


def processes_in(state: str, shown: dict[str, Document]) -> list[tuple[str, int]]:
    found = ((name, agent) for name, agent in shown.items() if agent["state"] == state)
    return [(name, agent["pid"]) for name, agent in found if agent["pid"] is not None]


def is_at_ease(agent: Document) -> bool:
    return agent["state"] in ("running", *REST, "paused")


def inv3_who_shall_not_run_does_not(bench: Bench, shown: dict[str, Document], after: After) -> None:
    assert shown["down"]["intent"] == "killed", ("INV3", shown["down"], after.story)
    leaders = bench.leaders()
    for name, agent in shown.items():
        if agent["intent"] in DOWN:
            assert agent["state"] in ("stopped", "stopping"), ("INV3", name, agent, after.story)
            at_rest = agent["state"] == "stopped"
            assert not (at_rest and leaders[name]), ("INV3", name, agent, after.story)


def inv4_paused_stays_paused(bench: Bench, shown: dict[str, Document], after: After) -> None:
    """Of one that runs and beats, and of one that waits an hour.

    Their clocks stand still: the first is silent for much longer than the seconds after which
    that would be told, and of the second one's hour as much is left as when it was paused.
    """
    for name in ("resting", "dozing"):
        agent = shown[name]
        assert (agent["intent"], agent["state"]) == ("paused", "paused"), ("INV4", after.story)
        assert agent["health"] == "unknown", ("INV4", agent, after.story)
        for event in PAUSE_ENDS:
            happened = bench.happened(name, event, bench.paused_since)
            assert not happened, ("INV4", name, event, after.story)
    for name, pid in processes_in("paused", shown):
        bench.daemon.until_true(
            lambda pid=pid: bench.stands_still(pid),
            lambda name=name: f"INV4 {name} does not stand still: {after.story}",
        )
    left_ms = bench.durable("dozing")["cooldown_left_ms"]
    assert left_ms == bench.cooldown_left_ms, ("INV4", left_ms, after.story)


def inv5_acknowledged_is_done_and_done_once(bench: Bench, after: After) -> None:
    """The same command under the same id: the same answer, and no second effect.

    Called before the others, for whatever was not done is done by it.
    """
    operation, attempt = after.operation, after.attempt
    first = attempt.reply
    if operation.again is not None:  # what the next daemon goes on with is no second effect
        bench.until(operation.agent, lambda shown: shown["state"] == "running", after.story)
        bench.until_written(operation.agent)
    if attempt.acknowledged and operation.durable:
        bench.until(operation.agent, operation.expect, f"INV5 not done: {after.story}")
    if attempt.line and operation.replayed:
        bench.send(attempt)
        assert attempt.acknowledged, ("INV5", attempt.reply, after.story)
        if first is not None:
            assert attempt.reply == first, ("INV5", first, attempt.reply, after.story)
    elif attempt.line and not (
        operation.times(bench, bench.before.cursor) or (attempt.acknowledged and operation.durable)
    ):
        (operation.again or operation.begin)(bench, f"{attempt.request}-again")
    bench.until(operation.agent, operation.expect, f"INV5 not done: {after.story}")
    bench.daemon.until_true(
        lambda: operation.times(bench, bench.before.cursor) != 0, lambda: f"INV5 {after.story}"
    )
    bench.until_written(operation.agent)  # a second effect may be on its way to the disk
    times = operation.times(bench, bench.before.cursor)
    assert times in (None, 1), ("INV5", operation.name, times, after.story)
    assert operation.kept(bench), ("INV5", operation.name, "is not shown", after.story)


def inv6_events_have_no_gap_and_none_is_taken_back(bench: Bench, after: After) -> None:
    """Neither in the journal, nor in what a follower was shown before the crash."""
    cursor = bench.before.cursor
    last = bench.event(cursor)
    assert last == bench.before.last, ("INV6", last, bench.before.last, after.story)
    page = bench.daemon.ask("events", after=cursor, limit=2000)["events"]
    ids = [event["id"] for event in page]
    assert ids == list(range(cursor + 1, cursor + 1 + len(ids))), ("INV6", ids, after.story)
    told = [event["id"] for event in after.followed]
    assert told == ids[: len(told)], ("INV6", told, ids, after.story)
    assert after.followed == page[: len(told)], ("INV6", after.followed, after.story)


def inv7_one_start_and_at_most_one_end(
    bench: Bench, shown: dict[str, Document], after: After
) -> None:
    """A start is that of a process; what a shortage put off is told as `starting` each time.

    A daemon that died before it could tell a start has the next one tell of an adoption.
    """
    twice = bench.rows(
        "SELECT agent, incarnation_id, event, count(*) FROM events "
        "WHERE event IN ('agent.started', 'agent.exited') "
        "GROUP BY agent, incarnation_id, event HAVING count(*) > 1"
    )
    assert not twice, ("INV7", twice, after.story)
    upside_down = bench.rows(
        "SELECT ended.agent, ended.incarnation_id FROM events AS ended JOIN events AS begun "
        "ON begun.agent = ended.agent AND begun.incarnation_id = ended.incarnation_id "
        "WHERE ended.event = 'agent.exited' AND begun.event = 'agent.starting' "
        "AND ended.id < begun.id"
    )
    assert not upside_down, ("INV7", upside_down, after.story)
    begun = incarnations(bench, "agent.started") | incarnations(bench, "agent.adopted")
    ended = incarnations(bench, "agent.exited")
    assert ended <= begun, ("INV7", "ended and never begun", ended - begun, after.story)
    alive = {(name, agent["incarnation"]) for name, agent in shown.items() if agent["pid"]}
    lost = begun - ended - alive
    assert not lost, ("INV7", "begun, and neither ended nor alive", lost, after.story)
    agent = shown.get(after.operation.agent)
    if agent is not None:
        deaths = DEATHS.get(after.operation.name, 0)
        assert agent["failures"] == deaths, ("INV7", "charged", agent, deaths, after.story)


def incarnations(bench: Bench, event: str) -> set[tuple[str, str]]:
    words = "SELECT agent, incarnation_id FROM events WHERE event = ?"
    return {(agent, incarnation) for agent, incarnation in bench.rows(words, event)}


def inv8_no_failure_and_no_cooldown_is_forgotten(
    bench: Bench, shown: dict[str, Document], after: After, asked_s: float
) -> None:
    """The moment a cooldown ends may be known late, and is never earlier than it was."""
    for name in ("tired", "given-up"):
        was, now = bench.before.agents[name], shown[name]
        for what in ("state", "failures", "restarts"):
            assert now[what] == was[what], ("INV8", name, what, was, now, after.story)
    was, now = bench.before.agents["tired"], shown["tired"]
    ended_s = bench.before.at_s + was["cooldown_s"]
    # Both are rounded to milliseconds, and counted in them.
    assert asked_s + now["cooldown_s"] >= ended_s - 0.002, ("INV8", was, now, after.story)


def inv9_signals_go_to_whom_they_were_meant_for(bench: Bench, after: After) -> None:
    """Every call that strace saw: by a pidfd or our own cgroup, to the agent it is about.

    The group of a helper is ended before its leader is reaped, so that its number is still its
    own; it is no agent's. The next daemon may go on with what the first has begun, and holds
    whoever is paused.
    """
    about = bench.before.agents.get(after.operation.agent)
    pids = {str(about["pid"])} if about is not None else set()
    groups = {str(about["incarnation"])} if about is not None else set()
    expect_meant(bench, after.calls, pids | after.children, groups, after.story)
    words = "SELECT incarnation_id, pid FROM spawns WHERE agent = ?"
    spawned = bench.rows(words, after.operation.agent)
    pids |= {str(pid) for _, pid in spawned} | {str(bench.pids["resting"])}
    groups |= {incarnation for incarnation, _ in spawned}
    expect_meant(bench, after.followed_by, pids | after.children, groups, after.story)


def expect_meant(
    bench: Bench, calls: list[tuple[int, str, str]], pids: set[str], groups: set[str], story: str
) -> None:
    agents = {agent["pid"] for agent in bench.before.agents.values()}
    helpers = set()
    for _, call, arguments in calls:
        if call in ("kill", "tkill", "tgkill"):
            group = arguments.partition(",")[0]
            assert group.startswith("-"), ("INV9", call, arguments, story)
            assert int(group[1:]) not in agents, ("INV9", call, arguments, story)
            helpers.add(group[1:])  # one that was begun before anybody traced, perhaps
        if call == "pidfd_send_signal" and not _NOBODY.search(arguments):
            match = _TARGET_OF.match(arguments)
            assert match is not None, ("INV9", arguments, story)
            assert match[1] in pids | helpers | {"-1"}, ("INV9", arguments, pids, story)
        elif call == "write" and (match := _GROUP_FILE.match(arguments)):
            assert match[1] in groups, ("INV9", arguments, groups, story)


def inv10_the_last_acknowledged_state_is_whole(bench: Bench, after: After) -> None:
    [agent] = bench.daemon.ask("checkpoints", select=[KEEPER], state=True)["agents"]
    state, told = agent["state"], agent["checkpoint"]
    assert state is not None, ("INV10", agent, after.story)
    assert state["number"] >= bench.kept_acked, ("INV10", state, bench.kept_acked, after.story)
    assert state == bench.kept[state["number"]], ("INV10", state, after.story)
    rows = bench.rows("SELECT seq, sha256, state FROM checkpoints WHERE agent = ?", KEEPER)
    for seq, sha256, text in rows:
        found = hashlib.sha256(str(text).encode()).hexdigest()
        assert found == sha256, ("INV10", seq, after.story)
    assert told["sha256"] in {row[1] for row in rows}, ("INV10", told, after.story)
    keys = {action["key"] for action in bench.daemon.status(KEEPER)["unfinished"]}
    if bench.actions.get(bench.deed) == "intent":
        assert bench.deed in keys, ("INV10", "an acknowledged intent is lost", after.story)
    if bench.actions.get(bench.deed) == "done":
        assert bench.deed not in keys, ("INV10", "a finished action is shown", after.story)


def inv11_what_was_spent_stays_spent(
    bench: Bench, shown: dict[str, Document], after: After
) -> None:
    """Neither less nor more: an agent that is silent meanwhile has spent what it had.

    Of the day, over all; of the run, where it is still the same one. The operation that spends
    begins with a new run, and is begun twice at most.
    """
    spends = after.operation.agent == SPENDER
    names = ["saver"]
    if shown[SPENDER]["incarnation"] == bench.before.agents[SPENDER]["incarnation"]:
        names.append(SPENDER)
    for name in names:
        [was], [now] = bench.before.agents[name]["budgets"], shown[name]["budgets"]
        may = [was["used"]]
        if name == SPENDER and spends:
            may = [TOKENS_MAX + 1, 2 * (TOKENS_MAX + 1)]
        assert now["used"] in may, ("INV11", name, was, now, after.story)


def inv12_nothing_is_left_behind(bench: Bench, after: After) -> None:
    """No zombie of the daemon's, no cgroup of ours without a living incarnation."""

    def nothing() -> bool:
        return not zombies(bench.daemon.pid) and not orphan_groups(bench)

    bench.daemon.until_true(
        nothing,
        lambda: f"INV12 {named(zombies(bench.daemon.pid))} {orphan_groups(bench)} {after.story}",
    )


def zombies(daemon: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - names alone
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - one of many
                    words = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if words[0] == "Z" and int(words[1]) == daemon:
                found.append(int(name))
    return found


def named(pids: list[int]) -> dict[int, str]:
    found = dict.fromkeys(pids, "gone")
    for pid in pids:
        with contextlib.suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
    return found


def orphan_groups(bench: Bench) -> set[str]:
    """Groups of incarnations in which nothing lives; where there is no cgroup v2, there are none.

    The summary of a run says where this had nothing to look at.
    """
    mount = grounds.mount_point()
    if mount is None:
        return set()
    base = mount / ground_name(bench.daemon.root / "state")
    return {
        leaf.name
        for leaf in base.glob("run-*/")
        if "populated 0" in (leaf / "cgroup.events").read_text()
    }


def inv13_health_is_what_its_facts_say(shown: dict[str, Document], after: After) -> None:
    for name, agent in shown.items():
        assert agent["health"] in health_by(agent), ("INV13", name, agent, after.story)


def health_by(agent: Document) -> set[str]:
    """What the facts in the document allow; one word but where they don't show all of it."""
    if agent["intent"] == "killed":
        return {"killed"}
    if agent["intent"] != "up" or agent["state"] in ("starting", "completed"):
        return {"unknown"}
    if agent["pid"] is None:
        return {"unreachable", "unknown"} if agent["held"] else {"unreachable"}
    if agent["state"] not in ("running", "parked", "stopping"):
        return {"unknown"}
    silence_s, limits = agent["silence_s"], agent["thresholds_s"]
    if silence_s is None or silence_s < limits["degraded"]:
        # Whether it ever said a word, and when it was adopted, is not shown.
        return {"healthy", "unknown"} if silence_s is None else {"healthy"}
    return {"healthy", "degraded", "unreachable"} - (
        {"unreachable"} if silence_s < limits["unreachable"] else set()
    )


def inv14_given_up_once_an_episode(bench: Bench, after: After) -> None:
    times = bench.happened("given-up", "agent.escalated", 0)
    assert times == 1, ("INV14", times, after.story)
    again = bench.happened(FRAGILE, "agent.escalated", bench.before.cursor)
    assert again <= 1, ("INV14", again, after.story)
    told: Counter[object] = Counter(
        row[0]
        for row in bench.rows(
            "SELECT event_id FROM alerts JOIN events ON events.id = event_id "
            "WHERE kind = 'trigger' AND event = 'agent.escalated'"
        )
    )
    assert max(told.values(), default=0) <= 1, ("INV14", told, after.story)
