"""What crosses the network, in both directions: bounded, checked, and never believed of another."""

import base64
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
from agentd.fleet.documents import BREAKERS_MAX, alive_of, event_of, status_of
from agentd.fleet.encoding import PACKED_BYTES_MAX, TEXT_BYTES_MAX, Unreadable, pack, unpack
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
        {"host": "a", "presence": "p" * 65, "count": 1},
    ],
)
def test_a_sign_of_life_that_is_none_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(Unreadable):
        alive_of("$KV.agentd_status.a.alive", pack(said))


@pytest.mark.parametrize("name", ["openai", "payments API (EU)", "a\x1b[31m\n", "\U0001f980" * 256])
def test_what_an_agent_calls_its_breaker_costs_no_sign_of_life(name: str) -> None:
    breaker = {"name": name, "state": "open"}
    said = {"host": "a", "presence": "p", "count": 1, "breakers": [breaker]}
    assert [one.name for one in alive_of("$KV.agentd_status.a.alive", pack(said)).breakers] == [
        name
    ]


@pytest.mark.parametrize(
    "carried",
    [
        {"breakers": [{"name": "", "state": "open"}]},
        {"breakers": [{"name": "x" * 257, "state": "open"}]},
        {"breakers": [{"name": "x\0", "state": "open"}]},
        {"breakers": [{"name": "x", "state": "ajar"}, 5]},
        {"breakers": "all"},
        {"spent": {"date": "", "own": 1}},
        {"spent": {"date": "2026-11-21", "own": -1}},
        {"spent": {"date": "2026-11-21", "own": 1e10}},
    ],
)
def test_what_a_sign_of_life_carries_is_left_out_where_it_is_wrong(
    carried: dict[str, object],
) -> None:
    good = {"breakers": [], "spent": {"date": "2026-11-21", "own": 1}}
    said = {"host": "a", "presence": "p", "count": 1} | good | carried
    if isinstance(said["breakers"], list):
        said["breakers"].append({"name": "openai", "state": "open"})
    alive = alive_of("$KV.agentd_status.a.alive", pack(said))
    assert [one.name for one in alive.breakers] == (
        [] if carried.get("breakers") == "all" else ["openai"]
    )
    assert (alive.spent is None) == ("spent" in carried)


def test_breakers_beyond_the_bound_are_left_out() -> None:
    some = [{"name": f"b{number}", "state": "open"} for number in range(BREAKERS_MAX + 1)]
    said = {"host": "a", "presence": "p", "count": 1, "breakers": some}
    assert len(alive_of("$KV.agentd_status.a.alive", pack(said)).breakers) == BREAKERS_MAX


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


def creds(*seed: str) -> str:
    """Return a .creds file with a JWT that is whole, and these lines for its seed."""
    claims = base64.urlsafe_b64encode(b'{"sub":"UADA"}').decode().rstrip("=")
    return "\n".join(["-----BEGIN NATS USER JWT-----", f"e30.{claims}.c2ln", "", *seed])


@pytest.mark.parametrize("end", [["------END USER NKEY SEED------", ""], []])
def test_a_creds_file_is_taken_whole(tmp_path: Path, end: list[str]) -> None:
    path = tmp_path / "credentials"
    path.write_text(creds("-----BEGIN USER NKEY SEED-----", SEED, *end))
    path.chmod(0o600)
    credentials = read_credentials(path, "nats://h")
    assert credentials.inbox == "_INBOX.UADA"
    # The client cuts off the end of a seed that no line follows.
    assert f"{SEED}\n" in str(credentials.options["user_credentials"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SU",
        "a word",
        "BEGIN NATS USER JWT\nx.y.z\n",
        creds(),
        creds("-----BEGIN USER NKEY SEED-----"),
        creds("-----BEGIN USER NKEY SEED-----", SEED[:-5]),
        creds("-----BEGIN USER NKEY SEED-----", "------END USER NKEY SEED------"),
    ],
)
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
