"""C7: what agents say reaches programs and pages whole, or escaped, and breaks neither."""

import pytest

from tests.http.site import TOKEN, Site, bearer
from tests.http.test_stream import Open, read, site

__all__ = ["read", "site"]

ODD = ["\ud800", "\x00\x1b[31m", "\u202e", "</script><img src=x onerror=alert(1)>", "a\nb\r\n\r\nc"]


@pytest.mark.parametrize("text", ODD)
async def test_c7_odd_text_is_shown_by_every_page(text: str) -> None:
    site = Site(token=TOKEN, operate=True)
    said = {"task": text, "tool": text, "goal": text, "evidence": text, "step": text}
    site.daemon.agents[0] |= {**said, "tags": [text], "status": text}
    site.daemon.incidents = [
        {"id": 3, "agent": "order-processor", "agents": ["order-processor"], "summary": text}
        | {"cause": "EXITED", "severity": "warning", "opened": "2026-11-21T08:00:00.123Z"}
        | {"resolved": None, "acknowledged_by": None, "restarts": 0, "open": True}
        | {"timeline": [], "evidence": {"log_tail": [text]}, "actions": []}
    ]
    site.daemon.answers["logs"] = lambda args: {
        "logs": [{"agent": args["select"][0], "lines": [text]}]
    }
    site.daemon.add_event(message=text, data={"a": text})
    for path in ("/", "/agents/order-processor", "/incidents/3"):
        answer = await site.get(path, **bearer())
        assert answer.status == 200, path
        assert b"<img src=x" not in answer.body
        assert b"\x1b" not in answer.body
    agent = await site.get("/api/v1/agents/order-processor", **bearer())
    assert agent.json()["task"] == text
    logs = await site.get("/api/v1/logs/order-processor", **bearer())
    assert logs.json()["lines"] == [text]


@pytest.mark.parametrize("text", ODD)
async def test_c7_odd_text_is_one_message_of_the_stream(site: Site, read: Open, text: str) -> None:
    site.daemon.agents[0] |= {"task": text}
    reader, page = read(), read("/api/v1/stream?view=page")
    told = await reader.next("snapshot")
    assert told.data["agents"][0]["task"] == text
    assert (await page.next("snapshot")).data["rows"]
    site.daemon.add_event(message=text)
    assert (await reader.next("event")).data["message"] == text
