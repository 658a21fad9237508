"""Judges beside the loop: whatever comes of a question, the core has its answer."""

import asyncio

import pytest

from agentd.core.effects import Judge
from agentd.core.events import Event, Judged
from agentd.daemon.errands import Ended, Errand
from agentd.daemon.judges import Judges
from agentd.daemon.offload import Offload
from tests.daemon.process_bench import WAIT_S, config


class Desk:
    """Commands that end as they are told to, and logs that may not be read."""

    def __init__(self, ended: Ended | Exception, unread: Exception | None = None) -> None:
        self.ended, self.unread = ended, unread

    async def carry_out(self, _errand: Errand) -> Ended:
        if isinstance(self.ended, Exception):
            raise self.ended
        return self.ended

    def read(self, _agent: str, *, lines: int | None) -> list[str]:
        del lines
        if self.unread is not None:
            raise self.unread
        return []


async def judged(desk: Desk) -> Judged:
    aio = asyncio.get_running_loop()
    told: asyncio.Future[Event] = aio.create_future()
    judges = Judges(aio, told.set_result, desk, desk, Offload(aio))
    judges.judge(Judge("a", 3, {"agent": "a"}), config("x", judge={"command": ["judge"]}))
    event = await asyncio.wait_for(told, WAIT_S)
    assert isinstance(event, Judged)
    assert (event.agent, event.incarnation) == ("a", 3)
    return event


GOOD = Ended(ok=True, told="exited with code 0", answer=b'{"closer": true, "confidence": 0.5}')


@pytest.mark.parametrize(
    "desk",
    [Desk(GOOD, UnicodeDecodeError("utf-8", b"", 0, 1, "odd")), Desk(RuntimeError("odd"))],
)
async def test_what_nobody_expected_is_an_answer_too(desk: Desk) -> None:
    answer = await judged(desk)
    assert "it could not be asked" in answer.error
    assert "odd" in answer.error


async def test_a_log_that_a_disk_does_not_give_is_none() -> None:
    answer = await judged(Desk(GOOD, OSError(5, "Input/output error")))
    assert (answer.error, answer.closer) == ("", True)


async def test_a_failure_is_told_to_the_core_alone(capfd: pytest.CaptureFixture[str]) -> None:
    answer = await judged(Desk(Ended(ok=False, told="exited with code 3: no key")))
    assert answer.error == "exited with code 3: no key"
    assert "no key" not in capfd.readouterr().err
