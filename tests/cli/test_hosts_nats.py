"""`-H nats:HOST` and `agentctl fleet` in front of a host that has taken a request and is mute.

The server is a stub that speaks as much of the protocol as a request needs; the real one is in
tests/programs/test_fleet_commands.py.
"""

import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WAIT_S = 60.0
INFO = b'INFO {"server_id":"stub","version":"2.10.0","headers":true,"max_payload":1048576}\r\n'


class Mute(socketserver.ThreadingTCPServer):
    """A NATS server behind which every host hears what it is asked and never answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Client)
        self.asked: list[bytes] = []
        """The subjects of the requests that came."""
        self.news = threading.Condition()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def heard(self, subject: bytes) -> None:
        with self.news:
            self.asked.append(subject)
            self.news.notify_all()

    def until_asked(self, count: int) -> None:
        with self.news:
            assert self.news.wait_for(lambda: len(self.asked) >= count, WAIT_S), self.asked


class _Client(socketserver.StreamRequestHandler):
    server: Mute

    def handle(self) -> None:
        self.wfile.write(INFO)
        while line := self.rfile.readline():
            verb, *words = line.split()
            if verb == b"PING":
                self.wfile.write(b"PONG\r\n")
            elif verb in {b"PUB", b"HPUB"}:
                self.rfile.read(int(words[-1]) + len(b"\r\n"))
                self.server.heard(words[0])


@pytest.fixture
def nats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mute]:
    with Mute() as server:
        config = tmp_path / "agentd.toml"
        config.write_text(f'[fleet]\nnats = ["nats://127.0.0.1:{server.server_address[1]}"]\n')
        monkeypatch.setenv("AGENTD_CONFIG", str(config))
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("-H nats:m1,nats:m2 wait x --for healthy", (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
        ("fleet kill m1/x m2/x", (signal.SIGINT, signal.SIGTERM)),
    ],
    ids=["-H", "fleet"],
)
def test_a_signal_is_not_kept_waiting_by_hosts_that_do_not_answer(
    words: str, numbers: tuple[signal.Signals, ...], nats: Mute
) -> None:
    """Left to itself it would go on for the five minutes of `--timeout`."""
    argv = [sys.executable, "-m", "agentd.cli", *words.split(), "--timeout", "300"]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    for number in numbers:
        nats.asked.clear()
        with subprocess.Popen(argv, env=os.environ, **pipes) as process:
            try:
                nats.until_asked(2)
                process.send_signal(number)
                ended = process.wait(WAIT_S)
            finally:
                process.kill()
            assert process.stderr is not None
            assert b"Traceback" not in process.stderr.read()
        assert ended in {128 + number, -number}, words
