"""What a re-exec hands down to the image that follows: the socket, the locks, what was changed.

The pid stays, and so every agent stays a child of ours: its exit is still ours to read. What
is not kept open is found again as after a crash.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

VARIABLE: Final = "AGENTD_HANDOVER"


@dataclass(frozen=True, slots=True)
class Handover:
    """Descriptors that stay open over the exec, and the rlimits agents are to get back."""

    state_lock_fd: int
    socket_fd: int
    socket_lock_fd: int
    agent_limits: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def take(cls) -> "Handover | None":
        """Return what the image before us left, once; None: there was none, or it is not ours."""
        text = os.environ.pop(VARIABLE, None)
        if text is None:
            return None
        try:
            left = json.loads(text)
            if left.pop("pid") != os.getpid():
                return None
            limits = {int(key): (val[0], val[1]) for key, val in left.pop("agent_limits").items()}
            return cls(agent_limits=limits, **left)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return None

    def follow(self, private: Mapping[str, str]) -> None:
        """Become the new image; `private` is what the service manager told us alone.

        Returns only by OSError. Everything else of ours is close-on-exec.
        """
        for fd in (self.state_lock_fd, self.socket_fd, self.socket_lock_fd):
            os.set_inheritable(fd, True)
        environ = {**os.environ, **private}
        environ[VARIABLE] = json.dumps({**asdict(self), "pid": os.getpid()})
        argv = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, argv, environ)  # noqa: S606 - our own interpreter, our own words
