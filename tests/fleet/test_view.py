"""The view of all hosts, where something in it fails."""

import pytest

from agentd.fleet.connection import Connection
from agentd.fleet.settings import FleetSettings
from agentd.fleet.view import FleetView
from tests.fleet.stand_ins import until


async def test_a_view_that_ends_by_a_mistake_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: FleetSettings) -> Connection:
        raise TypeError("no seed")

    monkeypatch.setattr(Connection, "connect", fail)
    async with FleetView(FleetSettings(("nats://127.0.0.1:1",), "me")) as view:
        await until(view.changed.is_set)
        assert view.error is not None
        assert "no seed" in view.error
