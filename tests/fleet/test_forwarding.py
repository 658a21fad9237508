"""Events that the stream doesn't take: they are all that waits, or is left out."""

import logging
import os

import pytest

from agentd.fleet import jetstream, streams
from agentd.fleet.commands import request
from agentd.fleet.connection import Connection
from agentd.fleet.settings import FleetSettings
from tests.fleet.conftest import Start
from tests.fleet.server import NatsServer
from tests.fleet.stand_ins import until
from tests.fleet.test_link import stored, written


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("nats").setLevel(logging.CRITICAL)


async def change(connection: Connection, settings: FleetSettings, **facts: object) -> None:
    """Have the stream of events take other events than it did."""
    kept = next(one for one in streams.needed(settings, 1) if one.name == settings.events_stream)
    await jetstream.api(connection, f"STREAM.UPDATE.{kept.name}", {**kept.config, **facts})


async def test_a_full_stream_holds_up_events_and_nothing_else(
    start: Start, server: NatsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    one = await start("one")
    before = one.link._connection
    operator = await Connection.connect(one.settings)
    await change(operator, one.settings, discard="new", max_msgs=3)
    await one.daemon.happen(50)
    said = []

    def told() -> bool:
        said.append(capfd.readouterr().err)
        return "fleet.events_not_stored" in "".join(said)

    await until(told)
    assert await request(operator, one.settings, "one", "status", {})
    asked = len(one.daemon.told)
    await until(lambda: len(one.daemon.told) > asked and one.daemon.is_connected)
    await change(operator, one.settings)
    await until(lambda: written(one) == 50)
    assert one.link._connection is before
    assert sorted(await stored(server, "one")) == list(range(1, 51))
    assert "".join(said).count("fleet.events_not_stored") == 1
    await operator.close()


async def test_an_event_that_is_too_large_for_the_stream_is_left_out(
    start: Start, server: NatsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    one = await start("one")
    before = one.link._connection
    operator = await Connection.connect(one.settings)
    await change(operator, one.settings, max_msg_size=1024)
    await operator.close()
    await one.daemon.happen(2)
    await one.daemon.happen(message=os.urandom(2_000).hex())
    await one.daemon.happen(2)
    await until(lambda: written(one) == 5)
    assert one.link._connection is before
    assert sorted(await stored(server, "one")) == [1, 2, 4, 5]
    assert "fleet.event_left_out id=3" in capfd.readouterr().err


async def test_a_stream_that_was_removed_is_made_again(start: Start, server: NatsServer) -> None:
    one = await start("one")
    before = one.link._connection
    operator = await Connection.connect(one.settings)
    await jetstream.api(operator, f"STREAM.DELETE.{one.settings.events_stream}", {})
    await operator.close()
    await one.daemon.happen(3)
    await until(lambda: written(one) == 3)
    assert one.link._connection is before
    assert sorted(await stored(server, "one")) == [1, 2, 3]
