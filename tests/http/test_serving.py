"""The server on a port: slow clients, too many of them, large heads, and an end in order."""

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from agentd.http import parameters, serving
from agentd.http.settings import Settings, SettingsError
from tests.http.listening import WAIT_S, Listening
from tests.http.site import TOKEN, bearer

KILL = "/api/v1/agents/researcher/kill"


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    monkeypatch.setattr(serving, "HEAD_S", WAIT_S)
    monkeypatch.setattr(serving, "KEEP_ALIVE_S", int(WAIT_S))
    monkeypatch.setattr(serving, "CONNECTIONS_MAX", 8)
    monkeypatch.setattr(parameters, "BODY_S", 0.3)
    with Listening(token=TOKEN, operate=True) as server:
        yield server


def until_closed(peer: socket.socket, drip: Callable[[], None] = lambda: None) -> bytes:
    """Return all that comes until the server closes; `drip` is called in between."""
    heard, ends_s = b"", time.monotonic() + WAIT_S
    peer.settimeout(0.05)
    while time.monotonic() < ends_s:
        try:
            chunk = peer.recv(65536)
        except TimeoutError:
            with suppress(OSError):
                drip()
            continue
        except ConnectionError:
            return heard
        if not chunk:
            return heard
        heard += chunk
    raise AssertionError(f"still open after {heard!r}")


def test_a_head_that_never_ends_is_not_waited_for(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HEAD_S", 0.4)
    for head in (b"", b"G", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"):
        with closing(socket.create_connection(listening.address)) as peer:
            peer.sendall(head)
            assert until_closed(peer, lambda peer=peer: peer.sendall(b"x")) == b""


def test_a_second_head_has_its_time_too(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with closing(socket.create_connection(listening.address)) as peer:
        peer.sendall(whole)
        assert peer.recv(65536).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(serving, "HEAD_S", 0.4)  # from the next answer on
        peer.sendall(whole)
        heard = until_closed(peer, lambda: peer.sendall(b"G"))
    assert b"HTTP/1.1 200" in heard


def test_a_body_that_never_ends_is_not_waited_for(listening: Listening) -> None:
    with closing(socket.create_connection(listening.address)) as peer:
        head = (
            f"POST {KILL} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        )
        peer.sendall(head.encode())
        heard = until_closed(peer, lambda: peer.sendall(b" "))
    assert heard.startswith(b"HTTP/1.1 408")
    assert listening.daemon is not None
    assert not listening.daemon.count("kill")


def test_one_connection_too_many_is_closed_and_the_next_is_served(listening: Listening) -> None:
    with ExitStack() as opened:
        kept = []
        for _ in range(8):
            connection = listening.connection()
            opened.callback(connection.close)
            connection.request("GET", "/healthz")  # it is the server's by now
            assert connection.getresponse().read()
            kept.append(connection)
        extra = opened.enter_context(closing(socket.create_connection(listening.address)))
        assert until_closed(extra) == b""
    ends_s = time.monotonic() + WAIT_S
    while True:
        with suppress(OSError, http.client.HTTPException), closing(listening.connection()) as again:
            again.request("GET", "/healthz")
            assert again.getresponse().status == 200
            return
        assert time.monotonic() < ends_s


def test_a_head_that_is_too_long_is_refused(listening: Listening) -> None:
    with closing(listening.connection()) as connection, suppress(ConnectionError):
        connection.request("GET", "/healthz", headers={"x-long": "x" * 100_000})
        assert connection.getresponse().status in {400, 431}


def test_what_is_no_http_is_refused(listening: Listening) -> None:
    with closing(socket.create_connection(listening.address)) as peer:
        peer.sendall(b"\x16\x03\x01\x02\x00 no \r\n\r\n")
        assert until_closed(peer).startswith(b"HTTP/1.1 400")


def test_an_address_in_two_ways_is_one_path(listening: Listening) -> None:
    with closing(listening.connection()) as connection:
        for path in ("/api/v1/agents/%2e%2e/kill", "/api/v1/agents/research%65r%2fkill/kill"):
            connection.request("POST", path, headers=bearer())
            assert connection.getresponse().read()
        connection.request("POST", "/api/v1/agents/research%65r/kill", headers=bearer())
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["agents"][0]["name"]) == (
            200,
            "researcher",
        )
    assert listening.daemon is not None
    assert listening.daemon.count("kill") == 1


def test_its_end_ends_streams_and_goes_fast() -> None:
    with Listening(token=TOKEN) as server:
        connection = server.connection()
        connection.request("GET", "/api/v1/stream", headers=bearer())
        answer = connection.getresponse()
        assert b"retry" in answer.readline()
        server.call(server.running.end)
        answer.read()  # to its end
        connection.close()


def test_an_address_that_is_taken_is_told() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        settings = Settings("127.0.0.1", other.getsockname()[1])
        with pytest.raises(SettingsError, match="cannot listen"):
            serving.listening_socket(settings)


@pytest.mark.parametrize("text", [None, "", "no certificate"])
async def test_a_certificate_that_is_none_is_told(tmp_path, text: str | None) -> None:  # noqa: ANN001
    cert = tmp_path / "cert.pem"
    if text is not None:
        cert.write_text(text)
    with pytest.raises(SettingsError, match=r"cert\.pem"):
        serving.server_of(
            lambda *_: asyncio.sleep(0), Settings("127.0.0.1", 0, "", False, cert, cert)
        )


@pytest.mark.parametrize(
    ("listen", "link"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7")],  # noqa: S104 - nothing listens
)
def test_the_link_names_a_host_that_the_server_answers_to(listen: str, link: str) -> None:
    settings = Settings(listen, 0, TOKEN)
    assert settings.link_host == link
    assert link in settings.host_names
