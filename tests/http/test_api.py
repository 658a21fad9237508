"""The API: each address answers what the daemon says, and refuses what makes no sense."""

import json
from collections.abc import Mapping, Sequence

import pytest

from agentd.client.errors import AgentdError
from agentd.http import hub, link
from agentd.http.hosts import NoHosts
from tests.cli.stub import agent, status
from tests.http.site import TOKEN, Document, FakeDaemon, Site, bearer


@pytest.fixture
def site() -> Site:
    return Site(token=TOKEN, operate=True)


class OtherHost(NoHosts):
    """A fleet in which one other host is known, with agents of these names."""

    def __init__(self, names: Sequence[str]) -> None:
        self._daemon = FakeDaemon()
        self._daemon.agents = [agent(name) for name in names]

    def status(self, host: str, agent: str = "") -> Document:
        del host
        return status(*(one for one in self._daemon.agents if agent in {"", one["name"]}))

    async def ask(self, host: str, cmd: str, args: Mapping[str, object]) -> Document:
        del host
        return await self._daemon.ask(cmd, args)


READS = [
    ("/api/v1/status", "status", {"select": []}),
    ("/api/v1/agents/researcher", "status", {"select": ["researcher"]}),
    ("/api/v1/events?after=3&agent=researcher&type=agent.*&limit=9", "events", None),
    ("/api/v1/incidents?open=true", "incidents", None),
    ("/api/v1/history?since=1000&agent=researcher", "history", None),
    ("/api/v1/report?date=2026-11-20", "report", {"date": "2026-11-20"}),
    ("/api/v1/logs/researcher?tail=7", "logs", {"select": ["researcher"], "lines": 7}),
]


@pytest.mark.parametrize(("path", "cmd", "args"), READS)
async def test_each_read_is_one_command_of_the_daemon(
    site: Site, path: str, cmd: str, args: dict[str, object] | None
) -> None:
    answer = await site.get(path, **bearer())
    assert answer.status == 200, answer.body
    assert [asked for asked, _ in site.daemon.asked] == [cmd]
    assert args is None or site.daemon.asked[0][1] == args


async def test_the_query_reaches_the_daemon(site: Site) -> None:
    await site.get("/api/v1/events?after=3&agent=researcher&type=agent.*&limit=9", **bearer())
    wanted = {"select": ["researcher"], "types": ["agent.*"], "after": 3, "limit": 9}
    assert site.daemon.asked == [("events", {**wanted, "since_ms": None})]


async def test_an_agent_is_its_own_document(site: Site) -> None:
    answer = await site.get("/api/v1/agents/researcher", **bearer())
    assert answer.json()["name"] == "researcher"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/agents/nobody", 404, "no_such_agent"),
        ("/api/v1/incidents/77", 404, "not_found"),
        ("/api/v1/incidents/seven", 404, "not_found"),
        ("/api/v1/incidents/99999999999999999999", 404, "not_found"),
        ("/api/v1/nothing", 404, "not_found"),
        ("/api/v1/events?after=-1", 400, "bad_request"),
        ("/api/v1/events?since=soon", 400, "bad_request"),
        ("/api/v1/incidents?open=maybe", 400, "bad_request"),
        ("/api/v1/report?date=2026-13-01", 400, "bad_request"),
        ("/api/v1/status?host=elsewhere", 404, "not_found"),
        ("/api/v1/status?host=../x", 400, "bad_request"),
        # It would tell of this host, under the name of another.
        ("/api/v1/stream?host=elsewhere", 400, "bad_request"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_code(
    site: Site, path: str, status: int, code: str
) -> None:
    answer = await site.get(path, **bearer())
    assert (answer.status, answer.code) == (status, code)
    assert set(answer.json()["error"]) == {"code", "message", "hint"}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("conflict", 409),
        ("too_busy", 503),
        ("timeout", 504),
        ("not_reachable", 503),
        ("storage_unavailable", 503),
        ("forbidden", 403),
        ("internal", 500),
        ("of_a_later_version", 500),
    ],
)
async def test_what_the_daemon_refuses_has_a_status(site: Site, code: str, status: int) -> None:
    def refuse(_args: object) -> dict[str, object]:
        raise AgentdError(code, "told so", "do that")

    site.daemon.answers["report"] = refuse
    answer = await site.get("/api/v1/report", **bearer())
    assert answer.status == status
    assert answer.json() == {"error": {"code": code, "message": "told so", "hint": "do that"}}


async def test_the_page_is_first_judged_by_as_many_incidents_as_afterwards(site: Site) -> None:
    assert (await site.get("/", **bearer())).status == 200
    assert ("incidents", {"open": True, "limit": hub.INCIDENTS_MAX}) in site.daemon.asked


async def test_the_page_of_an_agent_that_another_host_has_not_is_not_found(site: Site) -> None:
    site.service.hosts = OtherHost(["a"])
    assert (await site.get("/agents/a?host=m2", **bearer())).status == 200
    assert (await site.get("/agents/b?host=m2", **bearer())).status == 404


async def test_a_method_that_is_not_there_is_named(site: Site) -> None:
    answer = await site.send("DELETE", "/api/v1/status", bearer())
    assert (answer.status, answer.code) == (405, "method_not_allowed")


VERBS = ["start", "stop", "restart", "kill", "pause", "resume", "hold", "unhold", "reset"]


@pytest.mark.parametrize("verb", VERBS)
async def test_each_verb_is_carried_out_with_its_reason(site: Site, verb: str) -> None:
    path = f"/api/v1/agents/researcher/{verb}"
    answer = await site.post(path, {"reason": "cost spike"}, **bearer())
    assert answer.status == 200, answer.body
    assert site.daemon.asked == [(verb, {"select": ["researcher"], "reason": "cost spike"})]


async def test_an_incident_is_acknowledged(site: Site) -> None:
    answer = await site.post("/api/v1/incidents/3/ack", {"reason": "on it"}, **bearer())
    assert answer.status == 200
    assert site.daemon.asked == [("ack", {"id": 3, "reason": "on it"})]


async def test_a_change_needs_no_body(site: Site) -> None:
    answer = await site.send("POST", "/api/v1/agents/researcher/pause", bearer())
    assert answer.status == 200
    assert site.daemon.asked[0][1]["reason"] == ""


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"{}", "application/json", 200),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"reason": 7}', "application/json", 400),
        (json.dumps({"reason": "x" * 1_001}).encode(), "application/json", 400),
        (b"[" * 10_000, "application/json", 400),
        (b"x" * 20_000, "application/json", 413),
        (b"reason=x", "application/x-www-form-urlencoded", 415),
    ],
)
async def test_a_body_that_is_none_of_ours_changes_nothing(
    site: Site, body: bytes, media_type: str, status: int
) -> None:
    headers = {**bearer(), "content-type": media_type}
    answer = await site.send("POST", "/api/v1/agents/researcher/kill", headers, body)
    assert answer.status == status
    assert bool(site.daemon.asked) == (status == 200)


async def test_a_status_asked_for_by_many_at_once_is_asked_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "AGE_S_MAX", 60.0)  # however slow we are
    for _ in range(20):
        assert (await site.get("/api/v1/status", **bearer())).status == 200
    assert site.daemon.count("status") == 1


async def test_whoever_changes_something_sees_it_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "AGE_S_MAX", 60.0)
    await site.get("/api/v1/agents/researcher", **bearer())
    await site.post("/api/v1/agents/researcher/kill", **bearer())
    site.daemon.agents[1] = {**site.daemon.agents[1], "health": "killed"}
    answer = await site.get("/api/v1/agents/researcher", **bearer())
    assert answer.json()["health"] == "killed"


async def test_a_daemon_that_is_gone_is_said_to_be_gone(site: Site) -> None:
    site.daemon.go()
    answer = await site.get("/api/v1/status", **bearer())
    assert (answer.status, answer.code) == (503, "not_reachable")


async def test_readiness_needs_no_token() -> None:
    site = Site(token=TOKEN)
    assert (await site.get("/healthz")).status == 200
    assert (await site.get("/healthz/order-processor")).json()["ready"]
    assert (await site.get("/healthz/nobody")).status == 404
    assert (await site.get("/healthz/all")).status == 404
    site.daemon.go()
    assert (await site.get("/healthz")).status == 503
    assert not (await Site(_gone(), token=TOKEN).get("/healthz/researcher")).json()["ready"]


def _gone() -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.go()
    return daemon


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({}, None),
        ({"health": "degraded"}, None),  # slow is not gone
        ({"health": "unknown"}, None),  # no heartbeats are asked of it
        ({"health": "unreachable"}, "unreachable"),
        ({"health": "killed", "state": "stopped"}, "killed"),
        ({"state": "paused"}, "paused"),
        ({"state": "parked"}, "parked"),
        ({"state": "running", "parked_s": 4.0}, "parked"),
        ({"state": "escalated"}, "escalated"),
        ({"state": "cooldown"}, "cooldown"),
        ({"state": "starting"}, "starting"),
        ({"state": "stopped", "held": True}, "held"),
        ({"status": "shutting_down"}, "draining"),
        ({"budgets": [{"name": "usd_per_day", "limit": 5.0, "used": 5.0}]}, "over budget"),
        ({"budgets": [{"name": "usd_per_day", "limit": 5.0, "used": 4.9}]}, None),
        ({"budgets": [{"name": "usd_per_day", "limit": 5.0, "used": None}]}, None),
    ],
)
async def test_an_agent_is_ready_or_has_a_reason(
    site: Site, known: dict[str, object], reason: str | None
) -> None:
    site.daemon.agents[0] |= known
    answer = await site.get("/healthz/order-processor")
    told = answer.json()
    assert answer.status == (503 if reason else 200)
    assert told["ready"] == (reason is None)
    assert (told["reason"] or "").startswith(reason or "")
