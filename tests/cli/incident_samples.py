"""Documents of incidents as the daemon answers them (CONTRACT 6.1)."""

from typing import Any

Document = dict[str, Any]

NOW = "2026-11-21T03:16:13.000Z"


def incident(number: int = 3, **known: object) -> Document:
    """The short document of CONTRACT 6.1."""
    return {
        "id": number,
        "agent": "stuck",
        "agents": ["stuck"],
        "cause": "TIMEOUT",
        "severity": "critical",
        "opened": "2026-11-21T03:12:13.000Z",
        "resolved": None,
        "acknowledged_by": None,
        "summary": "stuck 12s in do_handshake (stuck.py:31)",
        "restarts": 1,
        "open": True,
        "acknowledged": None,
        "began": "2026-11-21T03:12:01.000Z",
        "recovered": None,
        "time_to_detect_s": 12.0,
        "time_to_recover_s": None,
        "resolution": None,
        "reopened": 0,
        "key": "test/1/3",
        "from_a_later_version": [1],
        **known,
    }


EVIDENCE: Document = {
    "agent": "stuck",
    "kind": "stall",
    "time": "2026-11-21T03:12:13.000Z",
    "stack": [
        {"thread": 71, "name": "MainThread", "active": False, "frames": ["recv (/a/stuck.py:9)"]},
        {"thread": None, "name": "", "active": True, "frames": []},
    ],
    "wchan": "wait_woken",
    "syscall": "recvfrom",
    "cpu_s": 0.0,
    "sockets": [
        {
            "fd": 5,
            "kind": "tcp",
            "local": "127.0.0.1:40112",
            "peer": "127.0.0.1:4433",
            "state": "established",
            "recv_queue_bytes": 0,
            "send_queue_bytes": None,
        },
        {"fd": 6, "kind": "socket", "local": "", "peer": ""},
    ],
    "last_steps": [{"tool": "chat", "output": "\x1b[31mred\x1b[0m"}],
    "log_tail": ["calling the model", "\x1b[2Jgone"],
    "pressure": {"memory": "some 0.00"},
    "agents": [],
}


def whole(**known: object) -> Document:
    """The long document."""
    opened = "2026-11-21T03:12:13.000Z"
    return {
        **incident(),
        "time": NOW,
        "timeline": [
            {
                "time": opened,
                "event": "agent.unreachable",
                "message": "silent for 12s",
                "agent": "stuck",
                "severity": "critical",
                "id": 40,
            }
        ],
        "evidence": EVIDENCE,
        "actions": [
            {
                "time": "2026-11-21T03:12:14.000Z",
                "agent": "stuck",
                "by": "agentd",
                "event": "agent.stopping",
                "message": "silent for 12s: it is ended",
            }
        ],
        "now": [
            {
                "name": "stuck",
                "intent": "up",
                "state": "cooldown",
                "health": "unreachable",
                "reason": "TIMEOUT",
                "cooldown_s": 100.0,
                "held": False,
            }
        ],
        "next": [{"command": "agentctl ack 3", "why": "you have seen it"}],
        **known,
    }
