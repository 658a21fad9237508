"""Readiness: anybody may ask, about any name, and it costs the daemon one question a second."""

import pytest

from agentd.client.errors import AgentdError
from agentd.http import link, readiness
from tests.http.site import TOKEN, Document, Site
from tests.http.test_api import OtherHost


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(readiness, "STATUS_AGE_S", 60.0)  # however slow we are
    return Site(token=TOKEN)


class Busy:
    """A daemon's `too_busy` to the first questions, and then its status."""

    def __init__(self, site: Site, times: int) -> None:
        self.left = times
        self._told = site.daemon._status

    def __call__(self, args: Document) -> Document:
        if self.left:
            self.left -= 1
            raise AgentdError("too_busy", "more than 50 commands a second")
        return self._told(args)


async def test_l11_a_stranger_costs_the_daemon_one_question_however_many_names(site: Site) -> None:
    for number in range(200):
        assert (await site.get(f"/healthz/a{number}")).status == 404
    assert (await site.get("/healthz/researcher")).json()["ready"]
    assert (await site.get("/healthz")).status == 200
    assert site.daemon.asked == [("status", {"all": True})]


async def test_a_daemon_without_room_is_asked_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "BUSY_S", 0.01)
    site.daemon.answers["status"] = Busy(site, times=3)
    answer = await site.get("/healthz/researcher")
    assert (answer.status, answer.json()["ready"]) == (200, True)
    assert site.daemon.count("status") == 4


async def test_a_busy_daemon_makes_no_agent_unready(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "STATUS_S", 0.0)
    site.daemon.answers["status"] = Busy(site, times=2)
    answer = await site.get("/healthz/researcher")
    assert (answer.status, answer.code) == (503, "too_busy")
    assert answer.headers["retry-after"] == "1"
    # The daemon itself has answered.
    assert (await site.get("/healthz")).json() == {"ready": True, "reason": None}


async def test_an_agent_of_another_host_is_ready_there(site: Site) -> None:
    site.service.hosts = OtherHost(["a"])
    assert (await site.get("/healthz/a?host=m2")).json()["ready"]
    assert (await site.get("/healthz/b?host=m2")).status == 404
    assert site.daemon.asked == []
