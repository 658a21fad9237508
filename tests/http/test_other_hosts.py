"""The dashboard over all hosts: seen, asked and changed through the fleet's engine."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentd.config.schema import FleetConfig
from agentd.http.from_fleet import FleetHosts, hosts_of
from agentd.http.hosts import NoHosts
from agentd.http.pages import live
from agentd.http.service import Call
from agentd.http.wording import page_context
from tests.fleet.conftest import Start, server, start
from tests.fleet.server import NatsServer
from tests.fleet.stand_ins import until
from tests.http.site import ORIGIN, TOKEN, Site, bearer
from tests.http.test_api import VERBS

__all__ = ["server", "start"]
KILL = "/api/v1/agents/a/kill?host=machine-2"


@pytest.fixture
async def site(start: Start, server: NatsServer, tmp_path: Path) -> AsyncIterator[Site]:
    """The server of machine-1, which sees machine-2."""
    there = await start("machine-2")
    config = FleetConfig(nats=[server.url], name="machine-1")
    hosts = await hosts_of(config, tmp_path)
    assert isinstance(hosts, FleetHosts)
    made = Site(token=TOKEN, operate=True)
    made.service.hosts = hosts
    made.there = there.daemon  # type: ignore[attr-defined]
    await until(lambda: any(one["status"] for one in hosts.all()))
    yield made
    await hosts.close()


async def test_another_host_is_asked_itself(site: Site) -> None:
    answer = await site.get("/api/v1/status?host=machine-2", **bearer())
    assert [one["name"] for one in answer.json()["agents"]] == ["a", "b"]
    one = await site.get("/api/v1/agents/b?host=machine-2", **bearer())
    assert one.json()["name"] == "b"
    assert (await site.get("/api/v1/agents/c?host=machine-2", **bearer())).status == 404
    assert (await site.get("/api/v1/status?host=machine-3", **bearer())).status == 404
    assert (await site.get("/api/v1/report?host=machine-2", **bearer())).status == 200
    assert site.there.asked[-1][0] == "report"
    assert site.daemon.asked == []


async def test_its_own_name_is_this_host(site: Site) -> None:
    answer = await site.get("/api/v1/agents/researcher?host=machine-1", **bearer())
    assert answer.status == 200
    assert site.daemon.count("status") == 1


async def test_a_kill_goes_to_the_host_that_is_named_and_to_no_other(site: Site) -> None:
    assert (await site.post(KILL, {"reason": "spike"}, **bearer())).status == 200
    assert site.there.asked == [("kill", {"select": ["a"], "reason": _reason(site)})]
    assert site.daemon.asked == []


def _reason(site: Site) -> Any:  # noqa: ANN401 - the link says who asked beside it
    reason = site.there.asked[0][1]["reason"]
    assert "spike" in reason
    return reason


async def test_l11_from_afar_as_near_nothing_is_changed_without_the_right(site: Site) -> None:
    cookie, _ = await site.sign_in()
    assert (await site.post(KILL)).status == 401
    assert (await site.post(KILL, cookie=cookie, origin=ORIGIN)).status == 403
    assert (await site.post(KILL, **bearer(), origin="http://evil.example")).status == 403
    viewer = Site(token=TOKEN, operate=False)
    viewer.service.hosts = site.service.hosts
    for verb in VERBS:
        path = f"/api/v1/agents/a/{verb}?host=machine-2"
        assert (await viewer.post(path, **bearer())).status == 403
    assert (await viewer.get("/api/v1/logs/a?host=machine-2", **bearer())).status == 403
    assert site.there.asked == []


async def test_the_page_shows_all_hosts(site: Site) -> None:
    answer = await site.get("/", **bearer())
    assert answer.status == 200
    assert b"machine-2" in answer.body
    request: Any = type("Request", (), {"query_params": {}})()
    context = page_context(Call(site.service, request, site.access.visitor(_with_token())))
    view = live(context, await site.daemon.ask("status"), [])
    assert any("machine-2" in key for key in view.rows)


async def test_this_host_is_not_shown_as_another_by_its_name_in_the_fleet(
    start: Start, server: NatsServer, tmp_path: Path
) -> None:
    """The daemon calls itself as the system does; `[fleet] name` may be another word."""
    await start("machine-1")
    hosts = await hosts_of(FleetConfig(nats=[server.url], name="machine-1"), tmp_path)
    await until(lambda: any(one["status"] for one in hosts.all()))
    made = Site(token=TOKEN, operate=True)
    made.service.hosts = hosts
    page = (await made.get("/", **bearer())).body.decode()
    assert set(re.findall('data-host="([^"]+)"', page)) == {"machine-1"}
    rows = re.findall('data-row="([^"]+)" data-kind="agent"', page)
    assert sorted(rows) == sorted(f"machine-1/{one['name']}" for one in made.daemon.agents)
    await hosts.close()


def _with_token() -> Any:  # noqa: ANN401 - as much of a request as is looked at
    headers = {"authorization": f"Bearer {TOKEN}"}
    return type("Request", (), {"headers": headers, "cookies": {}, "client": None})()


async def test_a_host_that_is_silent_is_not_shown_as_it_was(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = site.service.hosts
    silent = [{**one, "state": "lost", "error": "silent since noon"} for one in hosts.all()]
    monkeypatch.setattr(hosts._view, "hosts", lambda: silent)  # type: ignore[attr-defined]
    answer = await site.get("/api/v1/status?host=machine-2", **bearer())
    assert (answer.status, answer.code) == (503, "not_reachable")
    assert "silent since noon" in answer.json()["error"]["message"]


async def test_what_is_wrong_with_the_fleet_costs_its_hosts_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(await hosts_of(FleetConfig(), tmp_path), NoHosts)
    wrong = FleetConfig(nats=["nats://127.0.0.1:1"], name="not a name")
    assert isinstance(await hosts_of(wrong, tmp_path), NoHosts)
    assert "no fleet" in capsys.readouterr().err
