"""Take the pictures of the dashboard in docs/images: `make screenshots`, two minutes.

A fleet of real programs with real troubles (that of `agentd demo`, and some agents that are
well) under a real daemon, seen in Chromium. Only the sparklines' past is made up: six hours of
figures are written into the store before the daemon starts, as nobody waits six hours.
"""

import math
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, sync_playwright

from agentd.cli.commands_agentd.demo import lay_out
from agentd.client import Client
from agentd.core.effects import SaveRollups
from agentd.core.records import Rollup
from agentd.core.tally import LATENCY_BOUNDS_MS, LATENCY_BUCKETS
from agentd.store import counts, rollups

IMAGES: Final = Path(__file__).parent / "images"
BIN: Final = Path(sys.executable).parent
CHROMIUM: Final = "/usr/bin/chromium"
PAST_MINUTES: Final = 6 * 60
SETTLE_S: Final = 400.0
MINUTE_MS: Final = 60_000
BYTES_MAX: Final = 200_000
WIDE: Final = {"width": 1360, "height": 1120}
PHONE: Final = {"width": 390, "height": 844}
# name, page, viewport, colour scheme
SHOTS: Final = (
    ("fleet-light", "/", WIDE, "light"),
    ("fleet-dark", "/", WIDE, "dark"),
    ("fleet-phone", "/", PHONE, "light"),
    ("agent-light", "/agents/stuck", WIDE, "light"),
    ("agent-dark", "/agents/spending", WIDE, "dark"),
    ("agent-phone", "/agents/leaking", PHONE, "dark"),
    ("incident-light", "/incidents/{stuck}", WIDE, "light"),
    ("incident-dark", "/incidents/{stuck}", WIDE, "dark"),
    ("incident-phone", "/incidents/{stuck}", PHONE, "light"),
)
# Agents that are well, beside those of the demo: name → megabytes, tokens a cycle.
WELL: Final = {"order-desk": (96, 900), "invoices": (61, 1400), "support-mail": (140, 620)}
WORKER: Final = """
import random, sys, time
import agentd
name, megabytes, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
kept = bytearray(megabytes << 20)
kept[::4096] = b"x" * len(kept[::4096])
number = 900
while True:
    number += 1
    with agentd.step("look up", tool="search", args=str(number)):
        time.sleep(0.8)
    with agentd.call("chat", provider="demo", model="demo-1", deadline_s=60) as call:
        time.sleep(1.2)
        spent = int(tokens * random.uniform(0.7, 1.3))
        call.usage({"input_tokens": spent, "output_tokens": spent // 8})
    agentd.heartbeat(status="working", task=f"{name}-{number}", progress=(number % 40) / 40)
    agentd.report(success=random.random() > 0.03, latency_ms=random.uniform(900, 2600))
    print(f"{name}-{number} done", flush=True)
"""


def main() -> int:
    """Take all pictures; 1 if one of them is too large for a repository."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="agentd-shots-") as folder:
        home = Path(folder)
        _lay_out(home)
        with _daemon(home):
            pass  # it makes the store, and its agents' names known
        _write_past(home / "state" / "agentd.db")
        with _daemon(home) as client:
            numbers = _until_troubled(client)
            with _dashboard(home) as link, _browser() as browser:
                _take(browser, link, numbers)
    large = [path for path in IMAGES.glob("*.png") if path.stat().st_size > BYTES_MAX]
    for path in sorted(IMAGES.glob("*.png")):
        sys.stdout.write(f"{path.stat().st_size:8} {path}\n")
    return 1 if large else 0


def _lay_out(home: Path) -> None:
    lay_out(home, BIN / "agentctl")
    (home / "worker.py").write_text(WORKER)
    folder = home / "agents.d"
    folder.mkdir(mode=0o755)
    for name, (megabytes, tokens) in WELL.items():
        command = f'["{sys.executable}", "-u", "worker.py", "{name}", "{megabytes}", "{tokens}"]'
        (folder / f"{name}.toml").write_text(
            f'command = {command}\ntags = ["shop"]\nmemory.limit = "256M"\n'
            f"budget.usd_per_day = 2.0\ndirectory = '{home}'\n"
        )


@contextmanager
def _daemon(home: Path) -> Iterator[Client]:
    socket = home / "agentd.sock"
    words = [str(BIN / "agentd"), "start", "--config", str(home / "agentd.toml")]
    with (home / "daemon.log").open("ab") as log:
        running = subprocess.Popen([*words, "--socket", str(socket)], stderr=log)
    client = Client(str(socket))
    try:
        _until(lambda: socket.exists() and _answers(client), 60.0)
        yield client
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)


def _answers(client: Client) -> bool:
    try:
        return bool(_agents(client))
    except Exception:  # noqa: BLE001 - not yet
        return False


def _agents(client: Client) -> dict[str, dict[str, Any]]:
    return {agent["name"]: agent for agent in client.ask("status", {})["agents"]}


def _until(look: Callable[[], object], within_s: float) -> None:
    end_s = time.monotonic() + within_s
    while not look():
        if time.monotonic() > end_s:
            raise TimeoutError(f"not within {within_s} s")
        time.sleep(0.2)


def _write_past(store: Path) -> None:
    """Write six hours of minutes that might have been."""
    dice = random.Random(7)  # noqa: S311 - figures for a picture
    now_ms = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS
    names = {**WELL, "healthy": (5, 950), "shell": (1, 120), "leaking": (40, 0), "spending": (4, 0)}
    rows = tuple(
        _minute(dice, name, now_ms - ago * MINUTE_MS, ago, figures)
        for name, figures in names.items()
        for ago in range(PAST_MINUTES, 0, -1)
    )
    with closing(sqlite3.connect(store)) as connection:
        counts.prepare(connection)
        rollups.save(connection, SaveRollups(rollups=rows))
        connection.commit()


def _minute(
    dice: random.Random, name: str, begins_ms: int, ago: int, figures: tuple[int, int]
) -> Rollup:
    megabytes, tokens = figures
    wave = 1 + 0.25 * math.sin(ago / 37 + len(name))
    spent = int(20 * tokens * wave * dice.uniform(0.8, 1.2))
    grown = megabytes * (1 + (1.6 * (1 - ago / PAST_MINUTES) if name == "leaking" else 0.05 * wave))
    latencies = [0] * LATENCY_BUCKETS
    usual = next(place for place, bound in enumerate(LATENCY_BOUNDS_MS) if bound > 1_000)  # noqa: PLR2004
    latencies[usual] = int(12 * wave)
    latencies[usual + 1] = dice.randrange(0, 8)
    return Rollup(
        agent=name,
        begins_ms=begins_ms,
        heartbeats=int(28 * wave) + dice.randrange(3),
        cycles=20,
        tokens=spent,
        cost_micros=spent,
        successes=19,
        latency_counts=tuple(latencies) if tokens else (),
        rss_min_bytes=int(grown * (1 << 20)),
        rss_max_bytes=int(grown * (1 << 20)),
        healthy_ms=MINUTE_MS,
    )


def _until_troubled(client: Client) -> dict[str, int]:
    """Wait until every trouble has come to its end; return incidents by agent."""

    def has_come() -> bool:
        agents = _agents(client)
        ended = all(agents[name]["state"] == "escalated" for name in ("crashing", "stuck"))
        held = all(agents[name]["state"] == "paused" for name in ("looping", "spending"))
        leak = agents["leaking"]
        return ended and held and leak["state"] == "running" and bool(leak["memory_forecast_s"])

    _until(has_come, SETTLE_S)
    client.ask("ack", {"id": _agents(client)["crashing"]["open_incident"], "reason": "seen"})
    client.ask("pause", {"select": ["shell"], "reason": "the copy is moved"})
    return {name: agent["open_incident"] for name, agent in _agents(client).items()}


@contextmanager
def _dashboard(home: Path) -> Iterator[str]:
    words = [str(BIN / "agentctl"), "--socket", str(home / "agentd.sock"), "dashboard", "--operate"]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        yield running.stdout.readline().strip()
    finally:
        running.terminate()
        running.wait(10)


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        words = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=words)
        yield browser
        browser.close()


def _take(browser: Browser, link: str, numbers: dict[str, int]) -> None:
    first = browser.new_context()
    first.new_page().goto(link)
    signed_in = first.storage_state()
    base = link.partition("/sign-in")[0]
    for name, path, viewport, scheme in SHOTS:
        context = browser.new_context(
            viewport=viewport,
            color_scheme=scheme,
            storage_state=signed_in,  # type: ignore[arg-type]
        )
        page = context.new_page()
        page.goto(base + path.format(**numbers))
        page.locator("#live", has_text="live").wait_for()
        page.wait_for_load_state("load")
        page.wait_for_timeout(1500)  # pictures within the page are loaded late
        page.screenshot(path=IMAGES / f"{name}.png")
        context.close()


if __name__ == "__main__":
    sys.exit(main())
