"""Where an agent is stuck, in one line: out of what was seen of a thread of it. Pure.

"in do_handshake (api_client.py:47), socket to 10.0.0.7:443, CPU 0 %": the innermost function,
the innermost line of the agent's own code, and whom it waits for. Without a stack, the system
call and the wait channel stand for the function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentd.daemon.socketpeers import Descriptors
from agentd.daemon.stacks import Thread
from agentd.daemon.syscalls import Call

# Awake for more than this share of the window, a thread is said to run and not to wait.
BUSY_PERCENT: Final = 50
_PEERS_SHOWN_MAX: Final = 3
_PLAIN_WORDS: Final = {
    **dict.fromkeys(("recvfrom", "recvmsg", "recvmmsg"), "recv"),
    **dict.fromkeys(("sendto", "sendmsg", "sendmmsg"), "send"),
    **dict.fromkeys(("accept", "accept4"), "accept"),
    **dict.fromkeys(("futex", "futex_waitv"), "a wait for a lock"),
    **dict.fromkeys(("nanosleep", "clock_nanosleep"), "sleep"),
    **dict.fromkeys(("wait4", "waitid"), "a wait for a child"),
    **dict.fromkeys(("epoll_wait", "epoll_pwait", "epoll_pwait2"), "epoll_wait"),
    **dict.fromkeys(("select", "pselect6"), "select"),
    **dict.fromkeys(("poll", "ppoll"), "poll"),
}
_CHILD_WAITS: Final = frozenset(("wait4", "waitid"))
# Where threads of a library wait for the others.
_IDLE_FILES: Final = ("threading.py", "queue.py", "_base.py", "thread.py")


@dataclass(frozen=True, slots=True)
class ThreadSeen:
    """What was seen of one thread."""

    tid: int
    state: str
    call: Call
    wait_channel: str = ""
    is_measured: bool = False
    """Whether the two shares that follow are known."""
    cpu_percent: float = 0.0
    awake_percent: float = 0.0
    """Running, or waiting for a core."""
    stack: Thread | None = None

    @property
    def is_busy(self) -> bool:
        return max(self.cpu_percent, self.awake_percent) >= BUSY_PERCENT

    @property
    def is_stopped(self) -> bool:
        return self.state in ("T", "t")

    @property
    def waits_for_others(self) -> bool:
        """Whether it does nothing but wait for other threads of its program."""
        frame = self.stack.frames[0] if self.stack is not None and self.stack.frames else None
        if frame is not None:
            return frame.is_library and frame.place.partition(":")[0] in _IDLE_FILES
        return self.call.name in ("futex", "futex_waitv")


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """What was seen of one process: its threads, the main one first, and its descriptors."""

    pid: int
    name: str
    threads: Sequence[ThreadSeen]
    descriptors: Descriptors

    @property
    def waits_for_child(self) -> bool:
        thread = stuck_thread(self)
        if thread is None:
            return False
        frames = thread.stack.frames if thread.stack is not None else ()
        in_library = any(frame.place.startswith("subprocess.py:") for frame in frames)
        return thread.call.name in _CHILD_WAITS or in_library


def stuck_thread(process: ProcessSeen) -> ThreadSeen | None:
    """Choose the thread to tell of: the busiest, else the main one, unless it waits for others."""
    if not process.threads:
        return None
    busiest = max(process.threads, key=lambda each: (each.awake_percent, each.cpu_percent))
    if busiest.is_busy:
        return busiest
    main, *others = process.threads
    if main.waits_for_others:
        for other in others:
            if other.call.fds and not other.waits_for_others:
                return other
    return main


def tell(process: ProcessSeen, child: ProcessSeen | None = None) -> str:
    """Say where a process is stuck; empty where nothing could be seen."""
    thread = stuck_thread(process)
    if thread is None:
        return ""
    if child is not None and (process.waits_for_child or not thread.is_busy):
        inner = tell(child)
        return f"{_where(thread, process)}, child {child.pid} ({child.name}) {inner}".rstrip()
    used = f", CPU {thread.cpu_percent:.0f} %" if thread.is_measured else ""
    return _where(thread, process) + used


def _where(thread: ThreadSeen, process: ProcessSeen) -> str:
    parts = [_what(thread)]
    if thread.is_stopped:
        parts.append("stopped by a signal" if thread.state == "T" else "held by a tracer")
    elif thread.state == "D":
        parts.append("in an uninterruptible wait (state D)")
    elif not thread.is_busy:
        told = _waited_for(thread.call, process.descriptors)
        parts += [told] if told else []
    return "in " + ", ".join(parts)


def _what(thread: ThreadSeen) -> str:
    """Name the innermost function, and the innermost line that its authors wrote."""
    frames = thread.stack.frames if thread.stack is not None else ()
    if not frames:
        return _without_stack(thread)
    innermost = frames[0]
    user = thread.stack.user_frame if thread.stack is not None else None
    if user is None:
        return f"{innermost.name} ({innermost.place})"
    waits = thread.call.is_known and not thread.is_busy and not thread.is_stopped
    if innermost is not user or not waits:
        return f"{innermost.name} ({user.place})"
    return f"{_PLAIN_WORDS.get(thread.call.name, thread.call.name)} ({user.place})"


def _without_stack(thread: ThreadSeen) -> str:
    if thread.is_stopped:
        return f"state {thread.state}"
    channel = f"wait channel {thread.wait_channel}" if thread.wait_channel else ""
    if thread.call.is_known:
        return thread.call.name + (f" ({channel})" if channel else "")
    if thread.is_busy or thread.state == "R":
        return "a computation"
    if channel:
        return channel
    return f"state {thread.state} (its system call: {thread.call.name})"


def _waited_for(call: Call, descriptors: Descriptors) -> str:
    """Name what a call waits on; never a guess, but where there is only one it could be."""
    if len(call.fds) == 1:
        return descriptors.told(call.fds[0])
    known = [descriptors.sockets[fd] for fd in call.fds if fd in descriptors.sockets]
    peers = [each.peer for each in known if each.peer]
    if not peers and not call.is_known:
        open_ones = descriptors.sockets.values()
        every = [each.peer for each in open_ones if each.peer and each.kind != "unix"]
        return f"its only connection is to {every[0]}" if len(every) == 1 else ""
    if len(peers) > 1:
        more = f" and {len(peers) - _PEERS_SHOWN_MAX} more" if len(peers) > _PEERS_SHOWN_MAX else ""
        return f"sockets to {', '.join(peers[:_PEERS_SHOWN_MAX])}{more}"
    return f"socket to {peers[0]}" if peers else ""
