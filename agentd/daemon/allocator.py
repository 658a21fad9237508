"""How the C library keeps memory: one heap for all threads, and large pieces go back to the kernel.

Left alone, glibc gives each thread a heap of its own, up to eight a core, and each keeps a page
while something small lives in it: a daemon that runs for weeks holds what every thread once had at
its busiest. Ours has a dozen threads that rarely work at the same time, so one heap costs no wait.
"""

import ctypes
from typing import Final

# mallopt(3). What is set no longer follows the largest piece freed so far, up to 32 and 64 MiB.
_M_ARENA_MAX: Final = -8
_M_MMAP_THRESHOLD: Final = -3
_M_TRIM_THRESHOLD: Final = -1
_SETTINGS: Final = {
    _M_ARENA_MAX: 1,
    _M_MMAP_THRESHOLD: 128 << 10,  # with which glibc begins
    _M_TRIM_THRESHOLD: 1 << 20,  # more than the buffers that come and go at every turn of the loop
}


def keep_little() -> None:
    """Set it for this process, before it has threads; a C library without mallopt is left alone."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return
    for setting, value in _SETTINGS.items():
        mallopt(setting, value)
