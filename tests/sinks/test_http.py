"""A request ends, whatever the other end does; nothing of its URL is told."""

import socket
import threading
import time

import pytest

from agentd.sinks import http
from agentd.sinks.http import ANSWER_BYTES_MAX, Http, Target, Unanswered
from tests.sinks.receiver import HUGE_BYTES, Mood, Receiver
from tests.sinks.samples import CANARY, hasty

NOTHING_COMES = "no answer within 0.5 s"


def refused(http: Http, url: str) -> str:
    with pytest.raises(Unanswered) as raised:
        http.request(url, method="POST", body=b"{}")
    return str(raised.value)


def test_a_request_arrives_whole_and_its_answer_comes_back(receiver: Receiver) -> None:
    answer = Http().request(
        receiver.at("/a/b?c=d"), method="POST", body=b'{"x":1}', headers={"X-Y": "z"}
    )
    assert (answer.status, answer.ok, answer.said) == (200, True, "")
    [received] = receiver.received
    assert (received.method, received.path, received.body) == ("POST", "/a/b?c=d", b'{"x":1}')
    assert received.headers["x-y"] == "z"
    assert received.headers["user-agent"].startswith("agentd/")


def test_a_host_without_threads_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuses)
    assert refused(hasty(), "http://127.0.0.1:1/") == "this host has no thread left for the request"


def test_a_receiver_that_drips_does_not_outlast_the_deadline(receiver: Receiver) -> None:
    """Each byte comes well within the socket's own timeout."""
    receiver.mood, receiver.drip_s = Mood.DRIP, 0.05
    hurried, began_s = hasty(), time.monotonic()
    assert refused(hurried, receiver.url) == NOTHING_COMES
    assert time.monotonic() - began_s < 10  # without a deadline: for ever
    [left] = hurried._left_behind
    left.join(10)  # the connection was cut: its thread ends
    assert not left.is_alive()


def test_a_receiver_that_is_slow_is_given_up_at_the_deadline(receiver: Receiver) -> None:
    receiver.mood = Mood.SLOW
    assert refused(hasty(), receiver.url) == NOTHING_COMES


def test_a_peer_that_accepts_and_stays_silent_does_not_hold_up_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}/"
        assert refused(hasty(), url) == NOTHING_COMES


def test_a_name_look_up_that_hangs_delays_nobody_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()

    def hangs(*_: object) -> list[object]:
        found.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    hurried = hasty()
    assert refused(hurried, "http://localhost:1/") == NOTHING_COMES
    assert "still hangs" in refused(hurried, "http://localhost:1/")
    found.set()
    [left] = hurried._left_behind
    left.join(10)
    assert "still hangs" not in refused(hurried, "http://localhost:1/")


def test_of_several_at_a_time_each_that_hangs_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = {name: threading.Event() for name in ("one", "two")}

    def hangs(host: str, *_: object) -> list[object]:
        hosts[host].wait(30)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    hurried = hasty()
    both = [threading.Thread(target=refused, args=(hurried, f"http://{host}:1/")) for host in hosts]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(10)
    for event in hosts.values():
        assert "still hangs" in refused(hurried, "http://localhost:1/")
        event.set()
    assert "still hangs" not in refused(hurried, "http://one:1/")


def test_a_request_given_up_before_it_was_sent_is_never_sent(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected, going_on = socket.create_connection, threading.Event()

    def late(*args: object, **options: object) -> socket.socket:
        going_on.wait(30)
        return connected(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", late)
    hurried = hasty()
    assert refused(hurried, receiver.url) == NOTHING_COMES
    going_on.set()
    [left] = hurried._left_behind
    left.join(10)
    assert receiver.received == []


def test_a_redirect_is_an_answer_and_is_not_followed(receiver: Receiver) -> None:
    with Receiver() as elsewhere:
        receiver.mood, receiver.redirect_to = Mood.REDIRECT, elsewhere.url
        assert Http().request(receiver.url, method="POST", body=b"x").status == 307
        assert elsewhere.received == []
    assert len(receiver.received) == 1


def test_a_huge_answer_to_success_is_not_read_at_all(receiver: Receiver) -> None:
    receiver.mood = Mood.HUGE
    assert Http().request(receiver.url, method="POST").ok
    assert receiver.written_bytes < HUGE_BYTES


def test_of_an_answer_that_refuses_only_the_beginning_is_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 500 x\r\n\r\n" + b"y" * (ANSWER_BYTES_MAX + 1000))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert Http().request(url, method="POST").said == "y" * ANSWER_BYTES_MAX
        thread.join(10)


@pytest.mark.parametrize(
    ("mood", "told"),
    [
        (Mood.RESET, "connection reset by peer"),
        (Mood.CLOSED, "it closed the connection without an answer"),
        (Mood.GARBAGE, "its answer is no HTTP"),
    ],
)
def test_what_is_no_answer_is_said_to_be_none(receiver: Receiver, mood: Mood, told: str) -> None:
    receiver.mood = mood
    assert refused(Http(), receiver.url) == told


def test_a_dead_receiver_is_said_to_refuse(receiver: Receiver) -> None:
    url = receiver.url
    receiver.dead()
    assert refused(Http(), url) == "connection refused"


@pytest.mark.parametrize(
    "url",
    [
        *(f"ftp://h/{CANARY}", f"{CANARY}", "", f"http://h:port/{CANARY}", f"http:///{CANARY}"),
        *(f"http://[{CANARY}/", f"http://h/{CANARY}\r\nX: y", f"http://h/ {CANARY}"),
        *(f"http://h/{CANARY}ü", f"http://u:{CANARY}@h:99999/"),
    ],
)
def test_l7_what_is_no_url_is_not_quoted(url: str) -> None:
    assert CANARY not in refused(Http(), url)


@pytest.mark.parametrize("mood", [Mood.RESET, Mood.CLOSED, Mood.GARBAGE])
def test_l7_no_error_holds_the_url(receiver: Receiver, mood: Mood) -> None:
    receiver.mood = mood
    told = refused(Http(), receiver.at(f"/{CANARY}?k={CANARY}").replace("//", f"//u:{CANARY}@"))
    assert CANARY not in told
    assert "127.0.0.1" not in told


def test_l7_a_receiver_that_echoes_the_url_is_not_quoted_whole() -> None:
    target = Target.of(f"https://hooks.example/services/{CANARY}?token={CANARY}2")
    for echo in (f"no service at /services/{CANARY}", f"bad {CANARY}", "hooks.example says no"):
        assert CANARY not in target.scrubbed(echo)
        assert "hooks.example" not in target.scrubbed(echo)


def test_user_and_password_of_a_url_become_a_header(receiver: Receiver) -> None:
    Http().request(receiver.url.replace("//", "//ada:p%40ss@"), method="GET")
    assert receiver.received[0].headers["authorization"] == "Basic YWRhOnBAc3M="


def test_the_proxy_of_the_environment_is_asked_for_other_hosts(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", receiver.at("").replace("//", "//ada:pw@"))
    monkeypatch.delenv("no_proxy", raising=False)
    assert Http().request("http://hooks.example:8080/x?y=z", method="GET").ok
    [received] = receiver.received
    assert received.path == "http://hooks.example:8080/x?y=z"
    assert received.headers["host"] == "hooks.example:8080"
    assert received.headers["proxy-authorization"] == "Basic YWRhOnB3"


def test_no_proxy_stands_before_loopback(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert Http().request(receiver.url, method="GET").ok


def test_a_proxy_that_can_not_be_used_is_told_without_quoting_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", f"socks5://u:{CANARY}@h:1")
    monkeypatch.delenv("no_proxy", raising=False)
    told = refused(Http(), "http://hooks.example/")
    assert told == "the proxy in agentd's environment is not an http:// URL"


def test_only_https_and_this_machine_are_private() -> None:
    assert Target.of("https://h/").is_private
    assert Target.of("http://localhost:1/").is_private
    assert Target.of("http://[::1]:1/").is_private
    assert not Target.of("http://10.0.0.1/").is_private


def test_http_is_loaded_by_the_first_request_and_not_before() -> None:
    assert not {"ssl", "HTTPConnection"} & vars(http).keys()


def test_a_peer_without_tls_is_told_as_such(receiver: Receiver) -> None:
    url = receiver.url.replace("http://", "https://")
    assert refused(Http(), url) == "the other side speaks no TLS: is it http://?"
