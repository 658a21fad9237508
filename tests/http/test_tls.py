"""TLS: the server speaks it where it has a certificate, and nothing else there."""

import http.client
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from agentd.http import serving
from tests.http.listening import WAIT_S, Listening
from tests.http.site import TOKEN
from tests.http.test_serving import until_closed

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(words, check=True, capture_output=True)
    return {"tls_cert": cert, "tls_key": key}


@pytest.fixture
def listening(certificate: dict[str, Path]) -> Iterator[Listening]:
    with Listening(token=TOKEN, **certificate) as server:
        yield server


def test_a_session_over_tls_never_leaves_it(listening: Listening) -> None:
    assert listening.url.startswith("https://")
    trusted = ssl.create_default_context(cafile=str(listening.settings.tls_cert))
    host, port = listening.address
    connection = http.client.HTTPSConnection(host, port, timeout=WAIT_S, context=trusted)
    with closing(connection):
        connection.request(
            "POST",
            "/sign-in",
            f"token={TOKEN}",
            {
                "Origin": listening.url,
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        answer = connection.getresponse()
        assert answer.status == 303
        assert "Secure" in str(answer.headers["set-cookie"]).split("; ")


def test_a_handshake_that_never_comes_is_not_waited_for(
    certificate: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HANDSHAKE_S", 0.4)
    with (
        Listening(token=TOKEN, **certificate) as server,
        closing(socket.create_connection(server.address)) as peer,
    ):
        assert until_closed(peer) == b""


def test_handshakes_count_among_the_connections(
    certificate: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS_MAX", 4)
    monkeypatch.setattr(serving, "HANDSHAKE_S", WAIT_S)
    with Listening(token=TOKEN, **certificate) as server, ExitStack() as opened:
        for _ in range(4):
            opened.enter_context(closing(socket.create_connection(server.address)))
        begun_s = time.monotonic()
        with closing(socket.create_connection(server.address)) as extra:
            assert until_closed(extra) == b""
        assert time.monotonic() - begun_s < WAIT_S / 2  # not by the end of the handshakes
        opened.close()
        url = f"{server.url}/healthz"
        trusted = ssl.create_default_context(cafile=str(server.settings.tls_cert))
        ends_s = time.monotonic() + WAIT_S
        while True:  # there is room again once the ends of the others are noticed
            with suppress(OSError), urllib.request.urlopen(url, context=trusted) as answer:  # noqa: S310 - ours
                assert answer.status == 200
                return
            assert time.monotonic() < ends_s


def test_plain_http_gets_nothing_there(listening: Listening) -> None:
    with closing(socket.create_connection(listening.address)) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200" not in until_closed(peer)
