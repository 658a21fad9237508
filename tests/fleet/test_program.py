"""`python -m agentd.fleet` as a program: what it makes, and what it says where it can't run."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from agentd.client.aio import CHANNEL_ENV
from tests.fleet.server import NatsServer


def run(config: Path, *words: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run it to its end; return its exit code, and all that it said."""
    ended = subprocess.run(
        [sys.executable, "-m", "agentd.fleet", "--config", str(config), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
    )
    return ended.returncode, ended.stdout + ended.stderr


def configured(directory: Path, text: str) -> Path:
    config = directory / "agentd.toml"
    config.write_text(f'[daemon]\nstate_dir = "{directory}/state"\n[fleet]\n{text}\n')
    return config


def test_an_operator_makes_the_streams_and_forgets_a_host(
    server: NatsServer, tmp_path: Path
) -> None:
    config = configured(tmp_path, f'nats = ["{server.url}"]\nname = "one"')
    code, said = run(config, "--create")
    assert code == 0
    assert "KV_agentd_status" in said
    assert run(config, "--create") == (0, "all there\n")
    assert run(config, "--forget", "two") == (0, "two: not known\n")


def test_what_keeps_it_from_running_is_one_line_and_a_hint(tmp_path: Path) -> None:
    code, said = run(configured(tmp_path, 'nats = ["nats://127.0.0.1:1"]'))
    assert code == 1
    assert "AGENTD_CHANNEL is not set" in said
    code, said = run(configured(tmp_path, ""))
    assert (code, said.splitlines()[0]) == (1, "agentd.fleet: fleet.nats names no server")
    code, said = run(configured(tmp_path, 'nats = ["nats://127.0.0.1:1"]'), "--create")
    assert code == 1
    assert "no NATS server on nats://127.0.0.1:1" in said
    assert "Traceback" not in said


def test_a_missing_extra_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "nats.py").write_text("raise ModuleNotFoundError('x', name='nats')")
    config = configured(tmp_path, 'nats = ["nats://127.0.0.1:1"]')
    code, said = run(config, "--create", env={"PYTHONPATH": str(tmp_path / "without")})
    assert code == 1
    assert said == (
        "agentd.fleet: nats is missing\n  hint: pip install 'agentd-supervisor[fleet]'\n"
    )


def test_it_ends_when_the_daemon_is_gone(tmp_path: Path) -> None:
    ours, its = socket.socketpair()
    config = configured(tmp_path, 'nats = ["nats://127.0.0.1:1"]')
    program = subprocess.Popen(
        [sys.executable, "-m", "agentd.fleet", "--config", str(config)],
        env={**os.environ, CHANNEL_ENV: str(its.fileno())},
        pass_fds=[its.fileno()],
        stderr=subprocess.PIPE,
    )
    its.close()
    assert ours.recv(1 << 16)  # it has asked for something: it serves
    ours.close()
    assert program.wait(60) == 0
    assert program.stderr is not None
    assert b"Traceback" not in program.stderr.read()
    program.stderr.close()
