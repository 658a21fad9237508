"""Fault by fault: what of the catalogue the decision core can see, and what it never does.

`SEEN` says by which name the worlds count that the fault was met, and a test demands each of
them; `UNSEEN` says why the core can't tell, which is where docs/faults.md names other tests.
"""

from collections.abc import Mapping

_SOCKET = "bytes of a socket: refused before there is an event"
_PROCESS = "how a process is made or ended: the process layer reports only what came of it"
_FILES = "files and disks lie under the store and the logs; the core hears of `daemon.storage`"
_READ = "read from /proc and the kernel; the core is told the result as evidence"
_CONFIG = "a file is read, checked and refused before the core is given a configuration"
_CLIENT = "the command line and the socket; the core answers requests and knows no client"
_RIGHTS = "roles and rights are decided at the socket, before there is a request"
_LOAD = "a matter of speed and size, not of decisions"

SEEN: Mapping[str, tuple[str, ...]] = {
    "A1": ("exited COMPLETED", "agent.completed"),
    "A2": ("exited EXITED", "agent.cooldown"),
    "A3": ("exited CRASHED",),
    "A5": ("exited OOM_KILLED", "trouble oom"),
    "A6": ("oom.child",),
    "A8": ("fault A8", "agent.escalated"),
    "A9": ("exited SPAWN_FAILED",),
    "A14": ("fault A14", "exited STARTUP_TIMEOUT"),
    "A16": ("fault A16",),
    "A19": ("exited HOST_REBOOTED", "trouble reboot"),
    "B1": ("agent.unreachable", "exited TIMEOUT"),
    "B3": ("fault B3",),
    "B6": ("fault B6",),
    "B7": ("fault B7",),
    "B9": ("fault B9",),
    "B10": ("daemon.stalled", "trouble gap"),
    "B14": ("fault B14",),
    "C11": ("trouble line",),
    "C15": ("fault C15",),
    "C16": ("loop.detected", "exited LOOP_DETECTED"),
    "C17": ("cost.spike", "cost.runaway"),
    "C18": ("fault C18",),
    "D1": ("fault D1",),
    "D7": ("fault D1",),
    "E1": ("memory.leak", "exited MEMORY_LEAK"),
    "E3": ("memory.limit", "exited MEMORY_LIMIT"),
    "E9": ("fault E9",),
    "G1": ("crash", "agent.adopted"),
    "G2": ("crash before the commit", "crash between deeds", "torn commit"),
    "G3": ("exited UNKNOWN",),
    "G5": ("fault G5", "adopted without a record"),
    "G8": ("re-exec",),
    "G12": ("daemon.stalled", "crash"),
    "H1": ("daemon.storage", "commit refused", "command refused"),
    "H3": ("commit refused", "crash while the disk refuses"),
    "I1": ("trouble clock",),
    "I2": ("fault I2",),
    "I3": ("fault I3",),
    "J1": ("agent.removed", "trouble reload"),
    "J5": ("exited CONFIG_CHANGED",),
    "J6": ("agent.removed", "agent.added"),
    "K1": ("fault K1",),
    "K3": ("fault K3",),
    "K5": ("command repeated, told again", "command repeated, carried out"),
    "K9": ("incident of many",),
}
UNSEEN: Mapping[str, str] = {
    **dict.fromkeys(("A10", "A20", "D5", "D9", "D10", "D13"), _PROCESS),
    "A13": "fifty agents are five times the largest world; each is one end as any other",
    "B2": _READ,
    "B11": "the SDK drops, and the core only adds what it reports",
    **dict.fromkeys(("C1", "C2", "C4", "C5", "C7", "C9", "C10", "C13", "C21"), _SOCKET),
    **dict.fromkeys(("D3", "D12", "D14", "E2", "E4", "E8"), _READ),
    "E7": "the daemon itself is the victim: to the core a crash, as in G1",
    **dict.fromkeys(("F1", "F2", "F3", "F5", "F7", "F8", "F9"), _FILES),
    "G6": "the lock is held before a core exists",
    "G9": "schemas are the store's; the core reads records of its own version",
    "G14": _LOAD,
    **dict.fromkeys(("G15", "H2", "H4", "H5", "H7", "H9"), _FILES),
    "I6": "order is the id that the store gives; the core has integer time and equal stamps",
    **dict.fromkeys(("J3", "J4", "J8", "J10"), _CONFIG),
    **dict.fromkeys(("K6", "K7", "K11"), _CLIENT),
    "K8": "sinks retry; the core asks for an alert once",
    **dict.fromkeys(
        ("L1", "L3", "L4", "L6", "L7", "L8", "L11", "L12", "L14"),
        _RIGHTS,
    ),
    **dict.fromkeys(("M1", "M3", "M4"), _LOAD),
}
