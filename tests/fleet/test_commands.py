"""Commands from afar: carried out once, by whom they name, and nothing beside the table."""

import asyncio
import contextlib
import logging

import pytest

from agentd.client.errors import AgentdError, NotReachable
from agentd.fleet import serving
from agentd.fleet.commands import request
from agentd.fleet.connection import Connection
from agentd.fleet.encoding import pack, unpack
from tests.fleet.conftest import Start
from tests.fleet.stand_ins import until


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("nats").setLevel(logging.CRITICAL)


async def test_a_command_is_carried_out_with_the_name_of_who_asked(start: Start) -> None:
    one = await start("one")
    connection = await Connection.connect(one.settings)
    args = {"select": ["a"], "reason": "spends too much"}
    await request(connection, one.settings, "one", "kill", args)
    [(verb, given)] = one.daemon.asked
    assert verb == "kill"
    assert given["select"] == ["a"]
    assert given["reason"].endswith(" by fleet: spends too much")
    status = await request(connection, one.settings, "one", "status", {})
    assert [agent["name"] for agent in status["agents"]] == ["a", "b"]
    with pytest.raises(AgentdError, match="one: no agent"):
        await request(connection, one.settings, "one", "history", {})
    with pytest.raises(NotReachable, match="host nobody is not there"):
        await request(connection, one.settings, "nobody", "status", {})
    await connection.close()


async def test_a_command_asked_twice_is_carried_out_once(start: Start) -> None:
    one = await start("one")
    one.daemon.hold = asyncio.Event()
    connection = await Connection.connect(one.settings)

    async def kill(agent: str = "a") -> object:
        return await request(
            connection, one.settings, "one", "kill", {"select": [agent]}, request_id="the-same-id"
        )

    first = asyncio.ensure_future(kill())
    await until(lambda: one.daemon.asked)
    second = asyncio.ensure_future(kill())
    with pytest.raises(AgentdError, match="was another one before"):
        await kill("b")
    one.daemon.hold.set()
    assert await first == await second == await kill()
    assert len(one.daemon.asked) == 1
    await connection.close()


async def test_waits_keep_no_kill_out(start: Start) -> None:
    one = await start("one")
    one.daemon.hold = asyncio.Event()
    connection = await Connection.connect(one.settings)

    async def ask(verb: str) -> object:
        return await request(
            connection, one.settings, "one", verb, {"select": ["a"]}, timeout_s=300.0
        )

    asking = [asyncio.ensure_future(ask("wait")) for _ in range(serving.AT_ONCE)]
    await until(lambda: len(one.daemon.asked) == serving.AT_ONCE)
    with pytest.raises(AgentdError, match="too many commands"):
        await ask("wait")
    asking.append(asyncio.ensure_future(ask("kill")))
    await until(lambda: one.daemon.asked[-1][0] == "kill" or asking[-1].done())
    assert not asking[-1].done(), "it was refused"
    one.daemon.hold.set()
    await asyncio.gather(*asking)
    await connection.close()


@pytest.mark.parametrize(
    ("subject", "text", "code"),
    [
        ("view.kill", {"verb": "kill"}, "forbidden"),
        ("operate.status", {"verb": "status"}, "forbidden"),
        ("operate.shutdown", {"verb": "shutdown"}, "forbidden"),
        ("view.status", {"verb": "kill"}, "bad_request"),
        ("view.events", {"verb": "events", "args": {"trace": True}}, "bad_request"),
        ("view.daemon", {"verb": "daemon", "args": {"action": "reexec"}}, "bad_request"),
        ("operate.kill", {"verb": "kill", "id": "short"}, "bad_request"),
        ("operate.kill", {"verb": "kill", "more": 1}, "bad_request"),
    ],
)
async def test_what_is_not_in_the_table_is_refused(
    start: Start, subject: str, text: dict[str, object], code: str
) -> None:
    one = await start("one")
    connection = await Connection.connect(one.settings)
    asked = {"id": "0123456789", "args": {}, **text}
    answer = unpack((await connection.request(f"agentd.one.cmd.{subject}", pack(asked))).data)
    assert answer["error"]["code"] == code
    assert one.daemon.asked == []
    await connection.close()


async def test_viewers_see_no_log_text_from_afar(start: Start) -> None:
    one = await start("one")
    connection = await Connection.connect(one.settings)
    shown = await request(connection, one.settings, "one", "incidents", {"id": 1})
    assert shown == {"cmd": "incidents", "rows": [{"kept": 1}]}
    await connection.close()


async def test_an_answer_that_was_sent_astray_is_no_command(start: Start) -> None:
    """The servers send their answers wherever an asker says, to any subject."""
    one = await start("one")
    connection = await Connection.connect(one.settings)
    order = {"id": "0123456789", "verb": "kill", "args": {"select": ["a"]}}
    victim = one.settings.command_subject("one", "operate", "kill")
    await connection.publish(victim, pack(order))
    await connection.publish(victim, pack(order), reply="agentd.one.cmd.operate.pause")
    await connection.publish(victim, pack(order), reply="$KV.agentd_status.one")
    with contextlib.suppress(AgentdError):
        await request(connection, one.settings, "one", "ping", {})
    assert [verb for verb, _ in one.daemon.asked] == ["ping"]
    await connection.close()
