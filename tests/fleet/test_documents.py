"""What crosses the network, in both directions: bounded, checked, and never believed of another."""

import os
import zlib
from pathlib import Path

import pytest

from agentd.client.errors import AgentdError
from agentd.config.schema import FleetConfig
from agentd.daemon import incidents
from agentd.fleet import visible
from agentd.fleet.credentials import read_credentials
from agentd.fleet.cursor import Cursor
from agentd.fleet.documents import alive_of, event_of, status_of
from agentd.fleet.encoding import PACKED_BYTES_MAX, TEXT_BYTES_MAX, Unreadable, pack, unpack
from agentd.fleet.others import LINE_BYTES_MAX, Others
from agentd.fleet.presence import Presences
from agentd.fleet.settings import FleetSettings

SEED = "SUABMCLS5L2KLMCMUW2AEKJQGZLYL4MD25Y6BIMNTXVHGE24GBBOYS5LYA"


@pytest.mark.parametrize("document", [{}, {"a": 1}, {"a": "x" * 100_000, "b": [None, 1.5]}])
def test_what_is_packed_is_unpacked(document: dict[str, object]) -> None:
    assert unpack(pack(document)) == document


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"[1]",
        b"{",
        b'{"a":1}x',
        b"\x00" * 40,
        zlib.compress(b"[" * 1_000_000),
        zlib.compress(b'{"a":"' + b"x" * (TEXT_BYTES_MAX + 10) + b'"}'),  # a bomb: 16 KB
        zlib.compress(b'{"a":1}')[:-3],
    ],
)
def test_what_is_no_document_is_refused(packed: bytes) -> None:
    with pytest.raises(Unreadable):
        unpack(packed)


def test_what_is_too_large_is_not_sent() -> None:
    with pytest.raises(AgentdError, match="too large for the fleet"):
        pack({"a": os.urandom(PACKED_BYTES_MAX).hex()})


@pytest.mark.parametrize(
    "said",
    [
        {"host": "b", "presence": "p", "count": 1},
        {"host": "a", "presence": "p"},
        {"host": "a", "presence": "p", "count": 0},
        {"host": "a", "presence": "p", "count": 1, "spent": {"date": "today", "own": 1}},
        {"host": "a", "presence": "p", "count": 1, "spent": {"date": "2026-11-21", "own": -1}},
        {"host": "a", "presence": "p", "count": 1, "breakers": [{"name": "x\n", "state": "open"}]},
        {"host": "a", "presence": "p" * 65, "count": 1},
    ],
)
def test_a_sign_of_life_that_is_none_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(Unreadable):
        alive_of("$KV.agentd_status.a.alive", pack(said))


def test_a_document_is_believed_of_its_own_key_only() -> None:
    status = {"host": "a", "summary": {}, "agents": [{"name": "x"}]}
    assert status_of("$KV.agentd_status.a", pack(status)) == status
    with pytest.raises(Unreadable):
        status_of("$KV.agentd_status.b", pack(status))
    event = {"host": "a", "id": 1, "event": "agent.ready"}
    assert event_of("agentd.a.event", pack(event)) == event
    with pytest.raises(Unreadable):
        event_of("agentd.b.event", pack(event))


def test_viewers_see_here_what_they_see_on_the_socket() -> None:
    assert visible.NOT_FOR_VIEWERS == incidents.NOT_FOR_VIEWERS


def test_what_is_told_to_the_daemon_fits_its_line() -> None:
    others = Others("me", Presences(10_000))
    for number in range(5_000):
        others.presences.heard(f"host-{number:04}", "p", 1, 0)
    for name in ("host-4711", "host-4999"):
        others.presences.lose(name)
        others.lost(name, [f"agent-{number:02}" for number in range(40)], announce=True)
    others.statuses["host-4000"] = {"agents": [{"name": "x", "intent": "up", "state": "running"}]}
    told = others.document(["host-4000/x"], "2026-11-21")
    assert len(pack(told, bytes_max=1 << 20)) < LINE_BYTES_MAX
    first = {row["name"]: row for row in told["hosts"][:3]}
    assert first.keys() == {"host-4711", "host-4999", "host-4000"}, "what matters goes first"
    assert first["host-4000"]["agents"][0]["ready"]
    assert len(first["host-4711"]["agents"]) == 40


def test_a_cursor_goes_on_where_it_was_and_begins_anew_when_torn(tmp_path: Path) -> None:
    cursor = Cursor.read(tmp_path / "fleet")
    cursor.move(17)
    again = Cursor.read(tmp_path / "fleet")
    assert (again.epoch, again.last_id) == (cursor.epoch, 17)
    (tmp_path / "fleet" / "events.json").write_text('{"epoch":"x","la')
    anew = Cursor.read(tmp_path / "fleet")
    assert anew.epoch not in {"x", cursor.epoch}
    assert anew.last_id == 0


@pytest.mark.parametrize(
    ("text", "identity"),
    [(SEED, "U"), ("ada:secret", "ada"), ("a.d>a:secret", "a-d-a")],
)
def test_an_identity_has_an_inbox_of_its_own(tmp_path: Path, text: str, identity: str) -> None:
    path = tmp_path / "credentials"
    path.write_text(text + "\n")
    path.chmod(0o600)
    assert read_credentials(path, "nats://h").inbox.startswith(f"_INBOX.{identity}")


@pytest.mark.parametrize("text", ["", "SU", "a word", "BEGIN NATS USER JWT\nx.y.z\n"])
def test_credentials_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(AgentdError, match="credentials_file"):
        read_credentials(path, "nats://h")


@pytest.mark.parametrize(
    "fleet",
    [
        FleetConfig(),
        FleetConfig(nats=["nats://h"], name="a.b"),
        FleetConfig(nats=["nats://h"], ttl_ms=10),
        FleetConfig(nats=["nats://h"], prefix="a b"),
    ],
)
def test_settings_that_cannot_be_are_refused(fleet: FleetConfig) -> None:
    with pytest.raises(AgentdError, match=r"fleet"):
        FleetSettings.from_config(fleet, Path("/"))
