"""A way to see where a stuck agent is stuck, asked for by the agent itself."""

from __future__ import annotations

import faulthandler
import signal

from agentd.sdk import link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def allow_stack_dump(signum: int = signal.SIGUSR1, file: TextIO | None = None) -> bool:
    """Let a signal write the stacks of all threads to `file` (standard error: the agent's log).

    For where py-spy may not look into the process. Returns false where the signal has a
    handler already or can't have one. The daemon is told which signal it is.
    """
    try:
        if signal.getsignal(signum) not in (signal.SIG_DFL, None):
            return False
        if file is None:
            faulthandler.register(signum, all_threads=True)
        else:
            faulthandler.register(signum, file=file, all_threads=True)
    except Exception as error:  # noqa: BLE001 - nothing is raised into the agent
        link.LINK.trouble(f"allow_stack_dump: {type(error).__name__}")
        return False
    here = link.LINK
    here.stack_signal = int(signum)
    if here.path is not None:
        here.put(f'{{"type":"hello","stack_signal":{here.stack_signal}}}')
    return True
