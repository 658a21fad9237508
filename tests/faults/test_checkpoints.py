"""States of a megabyte: they stop nobody else, and they don't pile up in memory."""

import json
import threading
from collections import Counter

from tests.daemon.harness import Document
from tests.faults.guard import Fleet, Voice
from tests.faults.measures import MIB

MEGABYTE = (1 << 20) - 200
PUTS = 60
# Measured 18 MiB: states of a megabyte each, as text, as bytes and in SQLite's pages.
STATES_KEPT_BYTES = 40 * MIB


def state_of(number: int) -> Document:
    """Many small strings with escapes: the most work for whoever reads it."""
    rows = [{"n": number, "text": f'é "quoted" [{{ {index}'} for index in range(21_000)]
    return {"rows": rows, "number": number}


def put(number: int) -> bytes:
    raw = json.dumps({"type": "checkpoint.put", "id": number, "state": state_of(number)}).encode()
    assert 900_000 < len(raw) < MEGABYTE
    return raw


def heard(voice: Voice, count: int) -> Counter[str]:
    """What became of so many questions."""
    told: Counter[str] = Counter()
    for _ in range(count):
        answer = voice.hear()
        told["ok" if answer["ok"] else answer["error"]["code"]] += 1
    return told


def test_c3_large_states_block_nobody_and_the_last_one_is_whole(fleet: Fleet) -> None:
    fleet.kept_bytes_max = STATES_KEPT_BYTES
    fleet.sleeper("one")
    fleet.start()
    fleet.until_state("one", "running")
    with fleet.as_agent("one") as voice:
        for number in range(10):
            assert voice.ask(put(number))["ok"]
        found = voice.ask({"type": "checkpoint.get", "id": "get"})["result"]
    assert found["state"] == state_of(9)
    kept = fleet.ask("checkpoints", select=["one"])["agents"][0]["checkpoints"]
    assert [one["seq"] for one in kept] == [10, 9, 8, 7, 6]


def test_m6_an_agent_that_does_not_wait_for_answers_is_refused_and_memory_is_bounded(
    fleet: Fleet,
) -> None:
    fleet.kept_bytes_max = STATES_KEPT_BYTES
    fleet.sleeper("one")
    fleet.start()
    fleet.until_state("one", "running")
    raw = put(1)
    with fleet.as_agent("one") as voice:
        flood = threading.Thread(target=lambda: [voice.tell(raw) for _ in range(PUTS)])
        flood.start()
        told = heard(voice, PUTS)
        flood.join(10)
        assert told["ok"] >= 5, told
        assert set(told) <= {"ok", "too_busy"}, told
        # Afterwards it is served as before.
        fleet.until_true(lambda: voice.ask(raw)["ok"])
