"""The server configuration of contrib/nats: TLS, a key for each user, and what each may do."""

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.client.errors import AgentdError, TimedOut
from agentd.fleet import jetstream, streams
from agentd.fleet.commands import request
from agentd.fleet.connection import Connection, Message
from agentd.fleet.credentials import read_credentials
from agentd.fleet.encoding import pack
from agentd.fleet.events import EventReader
from agentd.fleet.view import FleetView
from tests.fleet.guarded import CONTRIB, NAMES, Guarded
from tests.fleet.server import NatsServer, free_port
from tests.fleet.stand_ins import Running, StandIn, until


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    (tmp_path / "nats").mkdir()
    made = Guarded(tmp_path / "nats", hosts=("one", "two"))
    made.server.start()
    yield made
    made.server.close()


@pytest.fixture
async def link(guarded: Guarded, tmp_path: Path) -> Running:
    """The link of host one, on a fleet that an operator has set up."""
    operator = await guarded.connect("ada")
    assert len(await streams.ensure(operator, guarded.settings("ada"))) == 4
    await operator.close()
    made = Running(guarded.settings("one"), tmp_path / "one", StandIn("one"))
    await (await made.start()).connected()
    return made


async def test_a_viewer_sees_all_and_changes_nothing(guarded: Guarded, link: Running) -> None:
    settings = guarded.settings("grace")
    await link.daemon.happen(3)
    async with FleetView(settings) as view:
        await until(lambda: [row["status"] is not None for row in view.hosts()] == [True])
        assert view.error is None
    viewer = await guarded.connect("grace")
    reader = EventReader(viewer, settings)
    await until(lambda: (link._directory / "events.json").read_text().endswith('"last_id":3}'))
    assert [event["id"] for event in await reader.page()] == [1, 2, 3]
    assert (await request(viewer, settings, "one", "status", {}))["agents"]
    for verb in ("kill", "restart", "logs"):
        with pytest.raises(AgentdError) as refused:
            await request(viewer, settings, "one", verb, {"select": ["a"]})
        assert refused.value.code == "forbidden"
    assert link.daemon.asked == []
    await viewer.close()
    operator = await guarded.connect("ada")
    await request(operator, guarded.settings("ada"), "one", "kill", {"select": ["a"]})
    assert [verb for verb, _ in link.daemon.asked] == ["kill"]
    await operator.close()
    await link.stop()


async def test_a_host_speaks_under_its_own_name_only(guarded: Guarded, link: Running) -> None:
    settings = guarded.settings("two")
    host = await guarded.connect("two")
    beat = pack({"host": "one", "presence": "forged", "count": 1})
    for subject in (
        settings.alive_subject("one"),
        settings.status_subject("one"),
        settings.roster_subject("one"),
        settings.event_subject("one"),
        settings.command_subject("one", "operate", "kill"),
        settings.command_subject("one", "view", "status"),
        "$JS.API.STREAM.CREATE.mine",
        f"$JS.API.STREAM.PURGE.{settings.events_stream}",
        f"$JS.API.CONSUMER.CREATE.{settings.events_stream}",
        f"$JS.API.DIRECT.GET.{settings.status_stream}",
    ):
        with pytest.raises(AgentdError) as refused:
            await host.request(subject, beat)
        assert refused.value.code == "forbidden", subject
    for subject in (settings.event_subject("one"), "_INBOX.>", "agentd.one.cmd.operate.*"):
        heard: list[Message] = []
        with contextlib.suppress(AgentdError):
            await host.listen(subject, heard.append)
    await jetstream.store(host, settings.status_subject("two"), pack({"host": "two"}))
    assert link.daemon.asked == []
    await host.close()
    await link.stop()


async def test_answers_led_astray_forge_nothing(guarded: Guarded, link: Running) -> None:
    """A host has the servers send what they keep to the address of another host."""
    settings = guarded.settings("two")
    host = await guarded.connect("two")
    order = {"id": "0123456789", "verb": "kill", "args": {"select": ["a"]}}
    for kept in (order, {"host": "one", "presence": "forged", "count": 1}):
        await jetstream.store(host, settings.status_subject("two"), pack(kept))
        for victim in (
            settings.alive_subject("one"),
            settings.status_subject("one"),
            settings.event_subject("one"),
            settings.command_subject("one", "operate", "kill"),
        ):
            asked = pack({"last_by_subj": settings.status_subject("two")})
            await host.publish(
                f"$JS.API.STREAM.MSG.GET.{settings.status_stream}", asked, reply=victim
            )
    await link.daemon.happen(data={"seen": True})
    viewer = await guarded.connect("grace")
    reader = EventReader(viewer, settings)
    async with FleetView(guarded.settings("grace")) as view:
        await until(lambda: any(row["status"] for row in view.hosts() if row["host"] == "one"))
        await until(lambda: (link._directory / "events.json").read_text().endswith(":1}"))
        assert [event["data"] for event in await reader.page()] == [{"seen": True}]
        assert link.daemon.asked == []
    await viewer.close()
    await host.close()
    await link.stop()


async def test_nobody_reads_answers_to_others(guarded: Guarded, link: Running) -> None:
    operator = await guarded.connect("ada")
    spy = await guarded.connect("grace")
    heard: list[Message] = []
    inbox = read_credentials(guarded.directory / "ada.nk", "").inbox
    for subject in (f"{inbox}.>", "_INBOX.>", "agentd.one.cmd.>"):
        with contextlib.suppress(AgentdError):
            await spy.listen(subject, heard.append)
    await request(operator, guarded.settings("ada"), "one", "logs", {"select": ["a"]})
    await spy.request(f"$JS.API.STREAM.INFO.{guarded.settings('ada').events_stream}")
    assert heard == []
    await asyncio.gather(operator.close(), spy.close())
    await link.stop()


async def test_who_was_asked_cannot_guess_where_another_answer_goes(guarded: Guarded) -> None:
    """Any host may publish into inboxes: an address that counts up would let it answer for all."""
    operator, host = await guarded.connect("ada"), await guarded.connect("one")
    asked: list[str] = []
    await host.listen("agentd.one.cmd.view.*", lambda message: asked.append(message.reply))
    for _ in range(2):
        with contextlib.suppress(TimedOut):
            await operator.request("agentd.one.cmd.view.ping", timeout_s=0.1)
    await until(lambda: len(asked) == 2)
    ends = [bytes.fromhex(reply.rpartition(".")[2]) for reply in asked]
    assert ends[0] != ends[1]
    assert min(map(len, ends)) >= 12
    await asyncio.gather(operator.close(), host.close())


async def test_a_fleet_that_nobody_set_up_says_how(
    guarded: Guarded, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = Running(guarded.settings("one"), tmp_path / "one", StandIn("one"))
    told = ""
    await made.start()
    async with asyncio.timeout(30):
        while "isn't set up, and these credentials may not do it" not in told:
            await asyncio.sleep(0.05)
            told += capfd.readouterr().err
    await made.stop()


async def test_who_is_not_known_is_refused(guarded: Guarded) -> None:
    for name in NAMES:
        assert (guarded.directory / f"{name}.nk").stat().st_mode & 0o777 == 0o600
    stranger = guarded.directory / "stranger.nk"
    stranger.write_text("nobody:knows\n")
    stranger.chmod(0o600)
    with pytest.raises(
        AgentdError, match=r"refuses these credentials|ended the connection at once"
    ):
        await guarded.connect("stranger")
    stranger.chmod(0o644)
    with pytest.raises(AgentdError, match="others can read it"):
        await guarded.connect("stranger")
    with pytest.raises(AgentdError, match="certificate verify failed"):
        await Connection.connect(guarded.settings("one", ca=False))


async def test_a_site_behind_a_leaf_node_is_part_of_the_fleet(
    guarded: Guarded, link: Running, tmp_path: Path
) -> None:
    """Host two behind leaf.conf; host one and the streams at the fleet's own server."""
    port = free_port()
    guarded.make_users("--leaves", "site-berlin")
    text = guarded.server.config.read_text()
    shipped = re.sub("^# ?", "", text[text.index("# leafnodes {") :], flags=re.MULTILINE)
    guarded.server.config.write_text(text + shipped.replace("0.0.0.0:7422", f"127.0.0.1:{port}"))
    guarded.server.kill()
    guarded.server.start()
    directory = guarded.directory
    site = NatsServer(directory, "leaf")
    site.config.write_text(
        (CONTRIB / "leaf.conf")
        .read_text()
        .replace("0.0.0.0:4222", f"127.0.0.1:{site.port}")
        .replace("fleet-1.example.com:7422", f"127.0.0.1:{port}")
        .replace("/etc/nats", str(directory))
    )
    guarded.make_users("--for-leaf")
    site.start()
    settings = dataclasses.replace(
        guarded.settings("two"), servers=(f"tls://127.0.0.1:{site.port}",)
    )
    two = Running(settings, tmp_path / "two", StandIn("two"))
    try:
        await (await two.start()).connected()
        await two.daemon.happen(3)
        await until(lambda: [link.daemon.view().get("two", {}).get("state")] == ["up"])
        await until(lambda: [two.daemon.view().get("one", {}).get("state")] == ["up"])
        operator = await guarded.connect("ada")
        await request(operator, guarded.settings("ada"), "two", "kill", {"select": ["a"]})
        reader = EventReader(operator, guarded.settings("ada"))
        await until(lambda: (two._directory / "events.json").read_text().endswith(":3}"))
        assert [event["host"] for event in await reader.page()] == ["two"] * 3
        await operator.close()
    finally:
        await two.stop()
        await link.stop()
        site.close()
