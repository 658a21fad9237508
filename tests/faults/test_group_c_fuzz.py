"""C21: a hundred thousand random mutations of valid lines, and what is left of the daemon."""

import random

from tests.dice import seed
from tests.faults.guard import Fleet, Voice
from tests.faults.measures import MIB

MUTATIONS = 100_000
PLAIN = '[heartbeat]\ninterval = "300ms"\nunreachable_after = "60s"\n'

VALID = [
    b'{"status":"ok","tokens":900,"task":"ticket-918","progress":0.3}',
    b'{"type":"heartbeat","usage":{"input_tokens":5,"output_tokens":6},"cost_usd":0.03}',
    b'{"type":"call","phase":"start","call":"c77","op":"chat","deadline_s":600}',
    b'{"type":"call","phase":"end","call":"c77","ok":true,"ms":2140}',
    b'{"type":"step","step":17,"tool":"web_search","out_len":5120,"lines":["deadbeef"],"ok":true}',
    b'{"status":"error","retry_after_s":2,"latency_ms":[1,2,3]}',
    b'{"id":"3","type":"checkpoint.get"}',
    b'{"id":7,"cmd":"status","args":{"select":["order-*"],"reason":"deploy"}}',
]


def mutated(rng: random.Random) -> bytes:
    """A valid line with a few bytes changed, cut, doubled or swapped with another's."""
    line = bytearray(rng.choice(VALID))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(line)) if line else 0
        deed = rng.randrange(5)
        if deed == 0 and line:
            line[at] = rng.randrange(256)
        elif deed == 1:
            del line[at : at + rng.randint(1, 8)]
        elif deed == 2:
            line[at:at] = line[at : at + rng.randint(1, 16)] * rng.randint(1, 3)
        elif deed == 3:
            other = rng.choice(VALID)
            cut = rng.randrange(len(other))
            line[at:] = other[cut:]
        else:
            line[at:at] = rng.choice([b"[", b"{", b'"', b"\\ud8", b"1e9", b"null", b"-", b"\x00"])
    return bytes(line).replace(b"\n", b" ")


def test_c21_a_hundred_thousand_mutations_raise_nothing(fleet: Fleet) -> None:
    rng = random.Random(seed())  # noqa: S311 - dice, not secrets
    fleet.configure(daemon="line_rate = 0\n")
    # Measured 7 to 8.4 MiB after a hundred thousand lines.
    fleet.kept_bytes_max = 16 * MIB
    fleet.agent("a", ["sleep", "600"], PLAIN)
    fleet.start()
    fleet.until("a", lambda s: s["pid"])
    voice = fleet.as_agent("a")
    rss = fleet.ask("daemon")["daemon"]["rss_bytes"]
    sent = 0
    while sent < MUTATIONS:
        batch = [mutated(rng) for _ in range(1000)]
        raw = b"\n".join([*batch, b'{"id":"mark","cmd":"ping"}', b""])
        voice = said(fleet, voice, raw)
        sent += len(batch)
    voice.channel.close()
    with fleet.as_agent("a") as last:
        assert last.ask({"id": 1, "status": "ok", "task": "still here"})["ok"]
    shown = fleet.status("a")
    assert (shown["task"], shown["intent"]) == ("still here", "up")
    assert fleet.ask("daemon")["daemon"]["rss_bytes"] < rss + (20 << 20)
    counters = fleet.counters()
    assert counters["sockets"]["lines_bad"] > MUTATIONS // 2
    assert counters["sockets"]["faults"] == counters["loop"]["faults"] == 0


def said(fleet: Fleet, voice: Voice, raw: bytes) -> Voice:
    """Send a batch and read until its mark is answered; with a new voice where it was closed."""
    voice.channel.settimeout(20)
    voice.channel.sendall(raw)
    try:
        while voice.hear().get("id") != "mark":
            pass
    except (TimeoutError, ConnectionError):
        voice.channel.close()
        return fleet.as_agent("a")
    return voice
