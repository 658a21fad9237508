"""The history and report documents of CONTRACT 6.1, as a daemon sends them."""

from typing import Any

Document = dict[str, Any]

HISTORY: Document = {
    "host": "here",
    "timezone": "Europe/Berlin",
    "from": "2026-11-14T08:00:00.000Z",
    "to": "2026-11-21T08:00:00.000Z",
    "agents": [
        {
            "name": "order-processor",
            "availability": 0.98,
            "mttr_s": 300.0,
            "downs": 2,
            "restarts": 2,
            "cost_usd": 9.5,
            "cost_known": True,
            "intervals": [
                {
                    "from": "2026-11-15T08:00:00.000Z",
                    "to": "2026-11-17T02:00:00.000Z",
                    "state": "up",
                    "reason": None,
                },
                {
                    "from": "2026-11-17T02:00:00.000Z",
                    "to": "2026-11-17T02:05:00.000Z",
                    "state": "down",
                    "reason": "OOM_KILLED",
                },
                {
                    "from": "2026-11-17T02:05:00.000Z",
                    "to": "2026-11-20T08:00:00.000Z",
                    "state": "up",
                    "reason": None,
                },
                {
                    "from": "2026-11-20T08:00:00.000Z",
                    "to": "2026-11-21T08:00:00.000Z",
                    "state": "paused",
                    "reason": "USER_PAUSED",
                },
            ],
            "a field that no version knows": 1,
        }
    ],
}

REPORT: Document = {
    "date": "2026-11-20",
    "timezone": "Europe/Berlin",
    "host": "here",
    "from": "2026-11-19T23:00:00.000Z",
    "to": "2026-11-20T23:00:00.000Z",
    "needs_human": [],
    "agents": [
        {
            "name": "order-processor",
            "alive_all_day": False,
            "downtime_s": 300.0,
            "paused_s": 0.0,
            "downs": [
                {
                    "from": "2026-11-20T02:00:00.000Z",
                    "to": "2026-11-20T02:05:00.000Z",
                    "reason": "OOM_KILLED",
                    "duration_s": 300.0,
                }
            ],
            "restarts": [{"time": "2026-11-20T02:05:00.000Z", "reason": "OOM_KILLED"}],
            "cost": {
                "tokens": 88_000,
                "usd": 1.4,
                "known": True,
                "per_cycle": 1_310.0,
                "baseline": 900.0,
                "usd_per_cycle": 0.004,
                "usd_baseline": 0.003,
                "outside_baseline": True,
            },
            "loops": [],
            "budgets": [],
            "cooldowns": [],
            "recovered": [],
            "needs_human": [
                {
                    "kind": "incident",
                    "incident": 12,
                    "message": "order-processor was killed for memory",
                    "from": "2026-11-20T02:00:00.000Z",
                    "to": None,
                    "next": "agentctl incident 12",
                }
            ],
        }
    ],
    "slow_problems": [
        {
            "agent": "order-processor",
            "kind": "restarts_same_time",
            "message": "restarted at about 03:00 on 4 of the last 7 days (OOM_KILLED)",
            "figure": 4,
            "unit": "of 7 days",
        }
    ],
    "ok": False,
}
