"""L11: what must not get in doesn't: another site's page, a wrong name, no token, tricks."""

import re
import secrets

import pytest
from starlette.types import Message

from agentd.http import parameters
from agentd.http.access import COOKIE
from agentd.http.guard import Guard, SlowReader
from agentd.http.sessions import SESSION_S, TRIES_MAX, FailedTries, Sessions
from tests.http.site import HOST, ORIGIN, TOKEN, Site, bearer

KILL = "/api/v1/agents/researcher/kill"
WRITES = {"start", "stop", "restart", "kill", "pause", "resume", "hold", "unhold", "reset", "ack"}


@pytest.fixture
def site() -> Site:
    return Site(token=TOKEN, operate=True)


def written(site: Site) -> list[str]:
    return [cmd for cmd, _ in site.daemon.asked if cmd in WRITES]


async def test_l11_a_page_of_ours_may_kill(site: Site) -> None:
    """The control of all that follow: with everything right it goes through."""
    cookie, csrf = await site.sign_in()
    sent = {"cookie": cookie, "x-agentd-csrf": csrf, "origin": ORIGIN}
    assert (await site.post(KILL, {"reason": "spike"}, **sent)).status == 200
    assert written(site) == ["kill"]


@pytest.mark.parametrize(
    ("changed", "status", "why"),
    [
        ({"origin": "http://evil.example"}, 403, "another site's page"),
        ({"origin": "null"}, 403, "a page that hides whose it is"),
        ({"origin": ""}, 403, "an empty one"),
        ({"origin": "http://127.0.0.1:8485"}, 403, "another port of this machine"),
        ({"origin": "http://127.0.0.1"}, 403, "the same without its port"),
        ({"origin": f"ftp://{HOST}"}, 403, "no page at all"),
        ({"origin": "http://[::1"}, 403, "no address at all"),
        ({"origin": None}, 403, "a browser always says where a page is from"),
        ({"x-agentd-csrf": None}, 403, "a form of another site can't set a header"),
        ({"x-agentd-csrf": ""}, 403, "an empty one"),
        ({"x-agentd-csrf": "0" * 64}, 403, "a guess"),
        ({"cookie": None}, 401, "nobody has signed in"),
        ({"cookie": "agentd_token_8484="}, 401, "an empty one"),
        ({"cookie": f"agentd_token_8484={TOKEN}"}, 401, "the token is no session"),
        ({"cookie": "agentd_token_8484=9999999999.x." + "0" * 64}, 401, "a forged session"),
        ({"cookie": "agentd_token_8484=x.y.é"}, 401, "no session at all"),
        ({"host": "evil.example"}, 421, "a name that was pointed here (DNS rebinding)"),
        ({"host": "evil.example:8484"}, 421, "the same with the port"),
        ({"host": "127.0.0.1.evil.example"}, 421, "a name that begins as ours"),
        ({"host": "localhost.evil.example"}, 421, "as above"),
        ({"host": ""}, 421, "no name"),
        ({"host": "10.0.0.7:8484"}, 421, "an address of another machine"),
    ],
)
async def test_l11_one_thing_wrong_and_nothing_is_killed(
    site: Site, changed: dict[str, str | None], status: int, why: str
) -> None:
    cookie, csrf = await site.sign_in()
    right = {"cookie": cookie, "x-agentd-csrf": csrf, "origin": ORIGIN}
    sent = {name: value for name, value in {**right, **changed}.items() if value is not None}
    answer = await site.post(KILL, {"reason": "spike"}, **sent)
    assert (answer.status, written(site)) == (status, []), why


@pytest.mark.parametrize("path", [KILL, "/api/v1/incidents/3/ack"])
@pytest.mark.parametrize("headers", [{}, bearer("wrong"), bearer(""), bearer("\x80\xff")])
async def test_l11_without_the_token_nothing_is_changed_or_told(
    site: Site, path: str, headers: dict[str, str]
) -> None:
    assert (await site.post(path, **headers)).status == 401
    for read in ("/api/v1/status", "/api/v1/stream", "/api/v1/logs/researcher", "/api/v1/report"):
        answer = await site.get(read, **headers)
        assert (answer.status, answer.code) == (401, "unauthorized")
    assert site.daemon.asked == []


async def test_l11_a_page_without_a_token_asks_for_it(site: Site) -> None:
    answer = await site.get("/")
    assert answer.status == 401
    assert b"/sign-in" in answer.body
    assert site.daemon.asked == []


async def test_l11_a_program_with_the_token_may_kill_from_no_site_but_its_own(site: Site) -> None:
    assert (await site.post(KILL, **bearer(), origin="http://evil.example")).status == 403
    assert written(site) == []
    assert (await site.post(KILL, **bearer())).status == 200


async def test_l11_a_server_that_only_shows_changes_nothing() -> None:
    site = Site(token=TOKEN, operate=False)
    answer = await site.post(KILL, **bearer())
    assert (answer.status, answer.code) == (403, "forbidden")
    assert (await site.post("/api/v1/incidents/3/ack", **bearer())).status == 403
    assert written(site) == []


async def test_l11_a_viewer_sees_no_logs() -> None:
    site = Site(token=TOKEN, operate=False)
    answer = await site.get("/api/v1/logs/researcher", **bearer())
    assert (answer.status, answer.code) == (403, "forbidden")
    assert site.daemon.asked == []


async def test_l11_without_any_token_all_may_look_and_none_may_change() -> None:
    site = Site()
    assert (await site.get("/api/v1/status")).status == 200
    assert (await site.post(KILL, origin=ORIGIN)).status == 403
    assert (await site.get("/api/v1/logs/researcher")).status == 403
    assert written(site) == []


TRICKS = [
    "/api/v1/agents/all/kill",
    "/api/v1/agents/*/kill",
    "/api/v1/agents/tag:shop/kill",
    "/api/v1/agents/research*/kill",
    "/api/v1/agents/researcher,order-processor/kill",
    "/api/v1/agents/../agents/researcher/kill",
    "/api/v1/agents//kill",
    "/api/v1/agents/researcher/kill/",
    "/api/v1/agents/researcher//kill",
    "/API/V1/agents/researcher/kill",
    "/api/v1/agents/RESEARCHER/kill",
    "/api/v1/agents/researcher\n/kill",
    "/api/v1/agents/researcher\x00/kill",
    "/api/v1/agents/researcher/shutdown",
    "/api/v1/agents/researcher/reload",
    "/api/v1/agents/researcher/signal",
    "/api/v1/agents/researcher/__class__",
    "/api/v1/agents/agentd-http/kill",
    "/api/v1/agents/agentd-fleet/stop",
    "/api/v1/incidents/3;4/ack",
    "/api/v1/incidents/٣/ack",
]


@pytest.mark.parametrize("path", TRICKS)
async def test_l11_no_trick_of_an_address_reaches_an_agent(site: Site, path: str) -> None:
    answer = await site.post(path, {"reason": "x"}, **bearer())
    assert answer.status in {404, 405, 409}
    assert site.daemon.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/static/../settings.py",
        "/static/../../../../etc/passwd",
        "/static//etc/passwd",
        "/static/%2e%2e/settings.py",
        "/static/",
        "/static/.",
    ],
)
async def test_l11_only_our_own_files_are_served(site: Site, path: str) -> None:
    assert (await site.get(path)).status == 404


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/metrics", "/nothing", "/static/app.css"])
async def test_l11_every_answer_carries_the_headers(site: Site, path: str) -> None:
    for answer in (await site.get(path), await site.get(path, **bearer())):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cache-control"] in {"no-store", "no-cache"}


async def test_l11_the_metrics_are_public_only_where_that_is_said() -> None:
    assert (await Site(token=TOKEN).get("/metrics")).status == 200
    guarded = Site(token=TOKEN, metrics_public=False)
    assert (await guarded.get("/metrics")).status == 401
    assert (await guarded.get("/metrics", **bearer())).status == 200


async def test_l11_a_name_that_was_allowed_is_answered() -> None:
    site = Site(token=TOKEN, allowed_hosts=frozenset({"ops.example"}))
    assert (await site.get("/healthz", host="ops.example:443")).status == 200
    assert (await site.get("/healthz", host="OPS.example.")).status == 200
    assert (await site.get("/healthz", host="localhost:1")).status == 200
    assert (await site.get("/healthz", host="[::1]:8484")).status == 200
    assert (await site.get("/healthz", host="ops.example.evil")).status == 421


@pytest.mark.parametrize(
    ("server", "host", "status"),
    [
        ("192.168.1.5", "192.168.1.5:8484", 200),
        ("::ffff:192.168.1.5", "192.168.1.5:8484", 200),  # IPv4 to a socket of IPv6
        ("::ffff:192.168.1.5", "[::ffff:192.168.1.5]:8484", 200),
        ("::ffff:192.168.1.5", "192.168.1.6:8484", 421),
        ("::ffff:192.168.1.5", "", 421),
    ],
)
async def test_l11_the_address_that_it_came_in_on_is_a_name(
    site: Site, server: str, host: str, status: int
) -> None:
    site.server = server
    assert (await site.get("/healthz", host=host)).status == status


async def test_l11_a_path_writes_no_line_of_its_own_into_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow(*_: object) -> None:
        raise SlowReader

    scope = site.scope("GET", "/\nagentd.http: forged", {})
    await Guard(slow, site.settings.host_names)(scope, slow, slow)
    assert "forged" in caplog.text
    assert "\nagentd.http: forged" not in caplog.text


# Signing in.


async def test_the_form_begins_a_session(site: Site) -> None:
    answer = await post_token(site, TOKEN, origin=ORIGIN)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}_8484=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(re.split("; ", cookie))
    assert TOKEN not in cookie
    status = await site.get("/api/v1/status", cookie=cookie.partition(";")[0])
    assert status.status == 200


async def post_token(site: Site, token: str, **headers: str):  # noqa: ANN201 - an Answer
    sent = {"content-type": "application/x-www-form-urlencoded", **headers}
    return await site.send("POST", "/sign-in", sent, f"token={token}".encode())


async def test_l11_another_site_cannot_sign_a_browser_in(site: Site) -> None:
    assert (await post_token(site, TOKEN, origin="http://evil.example")).status == 403
    assert (await post_token(site, TOKEN)).status == 403


async def test_l11_too_many_wrong_tokens_are_too_many(site: Site) -> None:
    for _ in range(TRIES_MAX):
        assert (await site.get("/api/v1/status", **bearer("wrong"))).status == 401
    refused = await site.get("/api/v1/status", **bearer("wrong"))
    assert (refused.status, refused.code) == (429, "too_many_tries")
    assert int(refused.headers["retry-after"]) > 0
    # The right one doesn't end it: else each answer would tell whether a guess was right.
    assert (await site.get("/api/v1/status", **bearer())).status == 429
    assert (await post_token(site, TOKEN, origin=ORIGIN)).status == 429
    # Whoever has signed in before goes on.
    cookie, _ = await site.sign_in()
    assert (await site.get("/api/v1/status", cookie=cookie)).status == 200


async def test_l11_a_token_that_cannot_be_guessed_is_not_locked_out_by_others() -> None:
    token = secrets.token_urlsafe(32)
    site = Site(token=token)
    for _ in range(TRIES_MAX):
        assert (await site.get("/api/v1/status", **bearer("wrong"))).status == 401
    assert (await site.get("/api/v1/status", **bearer("wrong"))).status == 429
    assert (await site.get("/api/v1/status", **bearer(token))).status == 200
    assert (await post_token(site, token, origin=ORIGIN)).status == 303
    assert (await post_token(site, "wrong", origin=ORIGIN)).status == 429


async def test_l11_links_that_other_pages_ask_for_lock_nobody_out(site: Site) -> None:
    code = site.access.sessions.new_link_code()
    for _ in range(2 * TRIES_MAX):
        assert (await site.get("/sign-in?code=x")).status == 401
    assert (await site.get("/api/v1/status", **bearer())).status == 200
    assert (await site.get(f"/sign-in?code={code}")).status == 303


async def test_l11_a_form_of_many_fields_is_refused(site: Site) -> None:
    answer = await post_token(site, "&a=1" * parameters.FORM_FIELDS_MAX, origin=ORIGIN)
    assert answer.status == 400


@pytest.mark.parametrize("path", ["/sign-in", KILL])
async def test_l11_a_body_that_breaks_off_is_no_fault(site: Site, path: str) -> None:
    scope = site.scope("POST", path, {**bearer(), "origin": ORIGIN})
    coming: list[Message] = [
        {"type": "http.request", "body": b"t", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await site.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert written(site) == []


@pytest.mark.parametrize("origin", [None, "http://evil.example"])
async def test_l11_what_another_site_sends_is_refused_unread(
    site: Site, origin: str | None
) -> None:
    async def never(*_: object) -> Message:
        raise AssertionError

    headers = {} if origin is None else {"origin": origin}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await site.app(site.scope("POST", "/sign-in", headers), never, send)
    assert sent[0]["status"] == 403


async def test_a_link_signs_in_once(site: Site) -> None:
    code = site.access.sessions.new_link_code()
    answer = await site.get(f"/sign-in?code={code}")
    assert answer.status == 303
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert (await site.get("/api/v1/status", cookie=cookie)).status == 200
    again = await site.get(f"/sign-in?code={code}")
    assert again.status == 401
    assert "This link has been used, or is too old." in str(again.body)
    assert (await site.get("/sign-in?code=guess")).status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec_fetch_site": "none"}, 303),
        ({"sec_fetch_site": "same-origin", "accept": "text/html"}, 303),
        ({"accept": "*/*"}, 303),
        ({"sec_fetch_site": "cross-site"}, 200),
        ({"sec_fetch_site": "same-site"}, 200),  # another port of this machine
        ({"accept": "text/html,*/*;q=0.8"}, 200),  # a browser that doesn't say
    ],
)
async def test_whoever_a_page_has_led_to_the_link_goes_on_from_a_page_of_ours(
    site: Site, headers: dict[str, str], status: int
) -> None:
    code = site.access.sessions.new_link_code()
    answer = await site.get(f"/sign-in?code={code}", **headers)
    assert answer.status == status
    assert answer.headers.get("refresh") == (None if status == 303 else "0; url=/")
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert (await site.get("/api/v1/status", cookie=cookie)).status == 200


def test_a_session_ends_and_so_does_a_link() -> None:
    now_s = [1_000_000.0]
    sessions = Sessions(TOKEN, lambda: now_s[0])
    cookie, code = sessions.issue(), sessions.new_link_code()
    assert sessions.is_session(cookie)
    assert not Sessions("another-token-0123456789", lambda: now_s[0]).is_session(cookie)
    now_s[0] += SESSION_S
    assert not sessions.is_session(cookie)
    assert not sessions.redeem(code)


def test_a_session_cannot_be_made_longer() -> None:
    sessions = Sessions(TOKEN, lambda: 1_000.0)
    ends, nonce, code = sessions.issue().split(".")
    assert not sessions.is_session(f"{int(ends) + 1}.{nonce}.{code}")


def test_a_session_outlives_the_server() -> None:
    assert Sessions(TOKEN).is_session(Sessions(TOKEN).issue())


def test_tries_are_forgotten_after_a_minute_and_bounded() -> None:
    now_s = [0.0]
    failed = FailedTries(lambda: now_s[0])
    for _ in range(TRIES_MAX):
        assert not failed.blocked_s("10.0.0.1")
        failed.add("10.0.0.1")
    assert failed.blocked_s("10.0.0.1") > 0
    assert not failed.blocked_s("10.0.0.2")
    now_s[0] = 61.0
    assert not failed.blocked_s("10.0.0.1")
    for number in range(5_000):
        failed.add(str(number))
    assert len(failed._tries) <= 1_024
