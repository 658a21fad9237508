"""A5 and A6 under a real daemon: the kernel kills for memory, and its word is in the evidence.

The limit is that of a v1 control group, which the agent enters by itself; what a v2 group counts is
checked in the guest.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.harness import PYTHON, Document
from tests.daemon.test_processes_trees import v1_group
from tests.faults.guard import PROGRAMS, Fleet

MIB = 1 << 20
LIMIT_MIB = 64
# What it may use by its config is what it gets; the daemon itself only tells of it.
TEXT = f"""
[memory]
limit = "{LIMIT_MIB}M"
sample = "100ms"
on_limit = "alert"
[restart]
policy = "never"
"""
HOG = f"exec {PYTHON} -S {PROGRAMS / 'hoarder.py'} leader 40"


@pytest.fixture
def group() -> Iterator[Path]:
    if not os.access("/dev/kmsg", os.R_OK):
        pytest.skip("/dev/kmsg can't be read")
    with v1_group("memory") as found:
        (found / "memory.limit_in_bytes").write_text(str(LIMIT_MIB * MIB))
        yield found


def death(fleet: Fleet, name: str) -> Document:
    """What is kept of its end, once it is."""
    found: list[Document] = []

    def kept() -> bool:
        for one in fleet.ask("incidents", select=[name])["incidents"]:
            evidence = fleet.ask("incidents", id=one["id"])["evidence"] or {}
            looks = [evidence, *evidence.get("agents", [])]
            found[:] = [look for look in looks if look.get("kind") == "death"]
        return bool(found)

    fleet.until_true(kept, lambda: f"nothing is kept of the end of {name}")
    return found[0]


@pytest.mark.root
def test_a5_an_oom_kill_is_told_with_the_kernels_word_its_memory_and_its_limit(
    fleet: Fleet, group: Path
) -> None:
    fleet.shell("hog", f"echo $$ > {group}/cgroup.procs; {HOG}", TEXT)
    fleet.start()
    last = fleet.until("hog", lambda s: s["last_exit"] is not None)["last_exit"]
    assert (last["reason"], last["signal"]) == ("OOM_KILLED", 9), last
    for word in ("oom-kill", "at its last sample", f"limit {LIMIT_MIB} MiB"):
        assert word in last["evidence"], last["evidence"]
    ended = death(fleet, "hog")["exit"]
    assert ended["oom_kills"] == 1, json.dumps(ended)
    assert 8 * MIB < ended["rss_bytes"] <= LIMIT_MIB * MIB, json.dumps(ended)
    assert ended["memory_limit_bytes"] == LIMIT_MIB * MIB
    assert not fleet.events("hog", "memory.leak")
    fleet.seen.append(last["evidence"])


@pytest.mark.root
def test_a6_a_helper_killed_for_memory_is_an_event_and_the_leader_is_left_alone(
    fleet: Fleet, group: Path
) -> None:
    # Only the helper is in the group that runs out.
    helper = f"sh -c 'sleep 0.5; echo $$ > {group}/cgroup.procs; {HOG}'"
    fleet.shell("leader", f"{helper} & exec sleep 600", TEXT)
    fleet.start()
    pid = fleet.until_state("leader", "running")["pid"]
    fleet.until_true(lambda: fleet.events("leader", "oom.child"))
    told = fleet.events("leader", "oom.child")
    assert len(told) == 1
    assert "oom-kill" in json.dumps(told[0]), told
    shown = fleet.status("leader")
    # What follows is the policy's to decide, and none was asked for.
    assert (shown["pid"], shown["failures"], shown["restarts"]) == (pid, 0, 0)
    assert not fleet.events("leader", "agent.exited")
    fleet.seen.append(told[0]["message"])
