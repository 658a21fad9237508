"""A look at a stalled agent, for as long as it may take: everything that shows where it is stuck.

Nothing here stops, signals or slows the agent, but for the one signal that it asked for itself
(`agentd.allow_stack_dump()`), and SIGCONT should py-spy ever leave it stopped. What may not be
read is said to be so. Blocking: for a thread.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from agentd.daemon import glance, pidfds, procfs, syscalls
from agentd.daemon.glance import Glance, Window
from agentd.daemon.logs import LogFile
from agentd.daemon.logtail import last_lines
from agentd.daemon.pressure import memory_events_of, memory_words, pressure_of
from agentd.daemon.socketpeers import Descriptors, descriptors_of
from agentd.daemon.stacks import Stacks, parse_faulthandler, read_stacks
from agentd.daemon.stuckline import BUSY_PERCENT, ProcessSeen, ThreadSeen, stuck_thread, tell

# CPU time and I/O are counted over this time: long enough for a hundred ticks.
WINDOW_S: Final = 1.0
# In less than thirty ticks a share of CPU time is chance: it is left out.
WINDOW_S_MIN: Final = 0.3
# py-spy takes 11-23 ms (FACTS §10); one that takes this long hangs.
STACK_S_MAX: Final = 0.8
# What faulthandler writes comes within milliseconds, once the main thread can be interrupted.
FAULT_S_MAX: Final = 0.4
_FAULT_PAUSE_S: Final = 0.02
_FAULT_BYTES_MAX: Final = 256 << 10
CHILDREN_SHOWN_MAX: Final = 16
STUCK_THREADS_MAX: Final = 32
STACK_CHARS_MAX: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Stalled:
    """Who is looked at, and with what."""

    pid: int
    start_time: int
    members: Mapping[int, int]
    """All its processes: pid to start time."""
    cgroup: Path | None
    log: LogFile | None
    secrets: tuple[bytes, ...]
    reader: str
    """Path of py-spy; empty: there is none."""
    stack_signal: int
    is_frozen: Callable[[], bool]
    """Whether somebody had us make it stand still meanwhile."""


@dataclass(slots=True)
class Findings:
    """What is found, filled in as it is found, so that nothing is lost when time is up."""

    evidence: dict[str, object] = field(default_factory=dict)
    line: str = ""


def examine(stalled: Stalled, until_s: float, findings: Findings) -> None:
    """Look at an agent until the monotonic moment `until_s` at most."""
    if not _is_still(stalled):
        findings.evidence["note"] = "it was gone before it was looked at"
        return
    evidence = findings.evidence
    before = glance.take(stalled.pid, stalled.members)
    leader = before.stats.get(stalled.pid)
    evidence["state"] = _state(leader.state if leader is not None else "")
    stacks = _stacks_of(stalled, stalled.pid, until_s)
    seen = _process_seen(stalled.pid, before, stacks)
    if not _is_still(stalled):
        evidence["note"] = "it ended while it was looked at"
        return
    _note_process(seen, stacks, evidence)
    findings.line = tell(seen)
    # A disk that hangs, its log's, must not cost where it is stuck.
    lateness = _note_surroundings(stalled, evidence)
    _sleep_until(min(before.at_s + WINDOW_S, until_s - FAULT_S_MAX))
    after = glance.take(stalled.pid, stalled.members)
    window = glance.between(before, after)
    _note_window(window, after, stalled.pid, evidence)
    if not stacks.threads and stalled.stack_signal:
        stacks = _asked_stacks(stalled, until_s, stacks)
        seen = _process_seen(stalled.pid, after, stacks)
    # Stack and system call of one moment, CPU time of the window.
    seen = _measured(seen, window)
    child = _child_seen(stalled, after, window, seen, until_s)
    if not _is_still(stalled):
        evidence["note"] = "it ended while it was looked at"
        return
    _note_process(seen, stacks, evidence)
    if child is not None:
        evidence["child"] = _child_document(child)
    findings.line = ", ".join(part for part in (tell(seen, child), lateness) if part)


def _is_still(stalled: Stalled) -> bool:
    """Whether the leader is still the process that it was."""
    stat = procfs.stat_of(stalled.pid)
    return stat is not None and stat.start_time == stalled.start_time


def _sleep_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.monotonic()))


_STATES: Final = {
    "R": "running",
    "S": "sleeping",
    "D": "uninterruptible",
    "T": "stopped by a signal",
    "t": "held by a tracer",
    "Z": "zombie",
    "I": "idle",
}


def _state(letter: str) -> str:
    return f"{letter} ({_STATES.get(letter, 'unknown')})" if letter else "gone"


def _note_surroundings(stalled: Stalled, evidence: dict[str, object]) -> str:
    """What is around it: its log, the pressure it is under, the memory events of its cgroup.

    Returns what of it explains a delay, in words.
    """
    if stalled.log is not None:
        try:
            evidence["log_tail"] = last_lines(stalled.log, secrets=stalled.secrets)
        except OSError as error:
            evidence["log_tail"] = [f"(its log cannot be read: {error.strerror})"]
    evidence["pressure"] = pressure = pressure_of(stalled.cgroup)
    evidence["memory_events"] = memory_events_of(stalled.cgroup)
    return memory_words(pressure)


def _stacks_of(stalled: Stalled, pid: int, until_s: float) -> Stacks:
    """Read a process's stacks, and see to it that the reader left it as it was."""
    before = procfs.stat_of(pid)
    limit_s = min(STACK_S_MAX, until_s - time.monotonic() - FAULT_S_MAX)
    if before is None or limit_s <= 0:
        return Stacks(why_not="there was no time left to read its stack")
    stacks = read_stacks(stalled.reader, pid, limit_s)
    after = procfs.stat_of(pid)
    stopped = after is not None and after.state in "Tt" and before.state not in "Tt"
    if stopped and not stalled.is_frozen():
        # It does not stop what it reads; should one ever do so, it must not stay that way.
        pidfd = pidfds.open_member(pid, before.start_time)
        if pidfd is not None:
            pidfds.send(pidfd, signal.SIGCONT)
            os.close(pidfd)
    return stacks


def _asked_stacks(stalled: Stalled, until_s: float, failed: Stacks) -> Stacks:
    """Have the agent write its stacks into its log, by the signal that it named for this.

    Only where it has a handler for that signal now: else the signal would end it.
    """
    if stalled.log is None or not 0 < stalled.stack_signal < signal.NSIG:
        return failed
    if not procfs.catches(stalled.pid, stalled.stack_signal):
        why_not = f"{failed.why_not}; its leader has no handler for signal {stalled.stack_signal}"
        return Stacks(why_not=why_not)
    pidfd = pidfds.open_member(stalled.pid, stalled.start_time)
    if pidfd is None:
        return failed
    try:
        begin = stalled.log.end()
        sent = pidfds.send(pidfd, stalled.stack_signal)
        text = _written_since(stalled.log, begin, min(until_s, time.monotonic() + FAULT_S_MAX))
    except OSError as error:
        return Stacks(why_not=f"{failed.why_not}; its log cannot be read: {error.strerror}")
    finally:
        os.close(pidfd)
    threads = parse_faulthandler(text.splitlines()) if sent else ()
    if not threads:
        return Stacks(why_not=f"{failed.why_not}; it did not answer signal {stalled.stack_signal}")
    return Stacks(threads, "faulthandler")


def _written_since(log: LogFile, begin: int, until_s: float) -> str:
    """Return what is written to a log from `begin` on, once a stack is in it and it is silent."""
    text, quiet = "", 0
    while time.monotonic() < until_s and quiet < 2:  # noqa: PLR2004 - two looks without a change
        time.sleep(_FAULT_PAUSE_S)
        now = log.read(begin, _FAULT_BYTES_MAX).data.decode(errors="replace")
        quiet = quiet + 1 if now == text and "most recent call first" in now else 0
        text = now
    return text


def _process_seen(pid: int, at: Glance, stacks: Stacks) -> ProcessSeen:
    """Put together what is known of a process's threads."""
    by_tid = {thread.tid: thread for thread in stacks.threads}
    if stacks.source == "faulthandler":  # it tells no ids: the first one is the main thread
        by_tid = {pid: stacks.threads[0]}
    threads = []
    for tid, stat in list(at.thread_stats.items())[:STUCK_THREADS_MAX]:
        call = syscalls.call_of(pid, tid)
        if call is None:
            continue
        channel = procfs.thread_wait_channel(pid, tid)
        threads.append(ThreadSeen(tid, stat.state, call, channel, stack=by_tid.get(tid)))
    leader = at.stats.get(pid)
    name = leader.comm if leader is not None else ""
    return ProcessSeen(pid, _plain(name), threads, descriptors_of(pid))


def _measured(seen: ProcessSeen, window: Window) -> ProcessSeen:
    if window.took_s < WINDOW_S_MIN:
        return seen
    used, awake = window.thread_cpu_percent, window.awake_percent
    threads = [
        replace(
            each,
            is_measured=True,
            cpu_percent=used.get(each.tid, 0.0),
            awake_percent=awake.get(each.tid, 0.0),
        )
        for each in seen.threads
    ]
    return replace(seen, threads=threads)


def _child_seen(
    stalled: Stalled, after: Glance, window: Window, leader: ProcessSeen, until_s: float
) -> ProcessSeen | None:
    """Look at the child that the leader waits for, or that works in its place."""
    others = [pid for pid in after.stats if pid != stalled.pid and not after.stats[pid].dead]
    if not others:
        return None
    wanted = {
        pid: max(window.cpu_percent.get(pid, 0.0), window.awake_percent.get(pid, 0.0))
        for pid in others
    }
    busiest = max(others, key=lambda pid: wanted[pid])
    thread = stuck_thread(leader)
    works = wanted[busiest] >= BUSY_PERCENT and not (thread is not None and thread.is_busy)
    if not works and not leader.waits_for_child:
        return None
    own = [pid for pid in others if after.stats[pid].ppid == stalled.pid]
    pid = busiest if works or not own else own[-1]
    stacks = _stacks_of(stalled, pid, until_s) if time.monotonic() < until_s else Stacks()
    at = glance.take(pid, {pid: after.stats[pid].start_time})
    cpu = {pid: window.cpu_percent.get(pid, 0.0)}
    seen = _process_seen(pid, at, stacks)
    seen = _measured(seen, replace(window, thread_cpu_percent=cpu))
    now = procfs.stat_of(pid)
    return seen if now is not None and now.start_time == after.stats[pid].start_time else None


def _note_process(seen: ProcessSeen, stacks: Stacks, evidence: dict[str, object]) -> None:
    thread = stuck_thread(seen)
    if thread is not None:
        hidden = thread.call.name == syscalls.NOT_PERMITTED
        evidence["syscall"] = thread.call.on
        evidence["wchan"] = thread.wait_channel or (syscalls.NOT_PERMITTED if hidden else "")
        evidence["thread"] = thread.tid
    evidence["threads"] = len(seen.threads)
    evidence["stack"] = _stack_documents(stacks)
    evidence.pop("stack_error", None)  # of a first try, that a second one has mended
    evidence |= {"stack_source": stacks.source} if stacks.source else {}
    evidence |= {"stack_error": stacks.why_not} if stacks.why_not else {}
    evidence["sockets"] = _sockets(seen.descriptors)
    evidence["fds"] = len(seen.descriptors.targets)


def _stack_documents(stacks: Stacks) -> list[object]:
    """Return the stacks as they are kept; of very deep and many ones, the first."""
    found: list[object] = []
    chars = 0
    for each in stacks.threads:
        document = each.document()
        chars += len(str(document))
        if chars > STACK_CHARS_MAX and found:
            break
        found.append(document)
    return found


def _sockets(descriptors: Descriptors) -> list[object]:
    if not descriptors.permitted:
        return [syscalls.NOT_PERMITTED]
    return [each.document() for each in descriptors.sockets.values()]


def _note_window(window: Window, at: Glance, leader: int, evidence: dict[str, object]) -> None:
    is_measured = window.took_s >= WINDOW_S_MIN
    evidence["window_s"] = window.took_s
    evidence["cpu_s"] = round(window.cpu_s, 3) if is_measured else None
    evidence["cpu_percent"] = round(sum(window.cpu_percent.values()), 1) if is_measured else None
    evidence["io_bytes"] = syscalls.NOT_PERMITTED if window.io_bytes is None else window.io_bytes
    others = [pid for pid in at.stats if pid != leader]
    evidence["children"] = [
        {
            "pid": pid,
            "parent": at.stats[pid].ppid,
            "name": _plain(at.stats[pid].comm),
            "state": _state(at.stats[pid].state),
            "wchan": procfs.wait_channel(pid),
            "cpu_percent": window.cpu_percent.get(pid, 0.0) if is_measured else None,
        }
        for pid in others[:CHILDREN_SHOWN_MAX]
    ]


def _child_document(child: ProcessSeen) -> dict[str, object]:
    thread = stuck_thread(child)
    return {
        "pid": child.pid,
        "name": child.name,
        "syscall": thread.call.on if thread is not None else "",
        "wchan": thread.wait_channel if thread is not None else "",
        "stack": [each.stack.document() for each in child.threads if each.stack is not None],
        "sockets": _sockets(child.descriptors),
    }


def _plain(name: str) -> str:
    return name if name.isprintable() else name.encode("unicode_escape").decode()
