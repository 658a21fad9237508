"""What is answered about incidents: bounded, masked, and for viewers without log text."""

import asyncio
import json

import pytest

from agentd.config.schema import Config
from agentd.core.records import IncidentRecord, Member
from agentd.core.supervisor import Supervisor
from agentd.daemon.incidents import FIRST_EVENTS, LAST_EVENTS, Incidents
from agentd.daemon.masks import Masks
from agentd.daemon.offload import Offload
from agentd.store.rows import EvidenceRow, IncidentRow

CANARY = "canary-77"
RECORD = IncidentRecord(
    number=7,
    key="k",
    cause="EXITED",
    severity="warning",
    summary=f"gone failed: {CANARY}",
    began_at_ms=0,
    opened_at_ms=1_000,
    agent="gone",
    members=(Member("gone", 1_000),),
)
ROW = IncidentRow(RECORD, 0, 1_000, None, None, None)
SEEN: dict[str, object] = {
    "stack": [{"thread": 1, "frames": [{"function": "f", "locals": {"key": "x"}}]}],
    "log_tail": ["said aloud"],
    "last_steps": [{"tool": CANARY}],
}


class Kept:
    """A store of one incident with so many events."""

    def __init__(self, events: int = 3) -> None:
        self.numbers = range(1, events + 1)
        self.asked: list[dict[str, object]] = []

    def incidents(self, **asked: object) -> list[IncidentRow]:
        self.asked.append(asked)
        return [ROW]

    def incident(self, number: int) -> IncidentRow | None:
        return ROW if number == RECORD.number else None

    def evidence(self, number: int) -> list[EvidenceRow]:
        return [
            EvidenceRow(number, "gone", "stall", 0, SEEN),
            EvidenceRow(number, "gone", "death", 0, SEEN),
        ]

    def events(
        self, *, incident: int, limit: int, after: int | None = None
    ) -> list[dict[str, object]]:
        assert incident == RECORD.number
        chosen = self.numbers[:limit] if after is not None else self.numbers[-limit:]
        return [{"id": number, "event": "agent.exited", "message": CANARY} for number in chosen]


@pytest.fixture
async def incidents() -> Incidents:
    return made(Kept())


def made(kept: Kept) -> Incidents:
    masks = Masks()
    masks.hide([CANARY])
    supervisor = Supervisor(Config(), jitter=lambda: 0.5, new_id=lambda: "id")
    return Incidents(supervisor, kept, Offload(asyncio.get_running_loop()), masks)  # type: ignore[arg-type]


async def test_secrets_are_masked_wherever_they_stand(incidents: Incidents) -> None:
    listed = await incidents.listed((), open_only=False, limit=5)
    whole = await incidents.one(7, viewer=False)
    for document in (listed, whole):
        assert CANARY not in json.dumps(document)
        assert "***" in json.dumps(document)


async def test_a_viewer_sees_no_line_of_a_log_and_no_local(incidents: Incidents) -> None:
    shown = json.dumps(await incidents.one(7, viewer=True))
    assert "said aloud" not in shown
    assert "locals" not in shown
    assert '"function": "f"' in shown
    told = json.dumps(await incidents.one(7, viewer=False))
    assert told.count("said aloud") == 2
    assert "locals" in told


async def test_a_long_incident_is_told_by_its_beginning_and_its_end() -> None:
    count = FIRST_EVENTS + LAST_EVENTS + 50
    whole = await made(Kept(count)).one(7, viewer=False)
    assert whole is not None
    ids = [entry["id"] for entry in whole["timeline"]]  # type: ignore[attr-defined]
    assert ids == [*range(1, FIRST_EVENTS + 1), *range(count - LAST_EVENTS + 1, count + 1)]


@pytest.mark.parametrize("count", [1, LAST_EVENTS - 1, LAST_EVENTS, LAST_EVENTS + 1])
async def test_no_event_of_a_shorter_one_is_missing_or_told_twice(count: int) -> None:
    whole = await made(Kept(count)).one(7, viewer=False)
    assert whole is not None
    ids = [entry["id"] for entry in whole["timeline"]]  # type: ignore[attr-defined]
    assert ids == list(range(1, count + 1))


async def test_one_whose_agent_is_gone_is_told_all_the_same(incidents: Incidents) -> None:
    whole = await incidents.one(7, viewer=False)
    assert whole is not None
    assert (whole["agent"], whole["now"]) == ("gone", [])
    assert await incidents.one(8, viewer=False) is None
    assert await incidents.newest() == [7]
