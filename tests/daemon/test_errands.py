"""Commands that are run once: whatever comes of one, the core is told."""

import asyncio
import os

import pytest

from agentd.core.effects import Validate
from agentd.core.events import Event, Validated
from agentd.daemon.errands import EVIDENCE_LENGTH_MAX, Errand, Errands
from agentd.daemon.masks import Masks
from tests.daemon.process_bench import WAIT_S, config, open_files


class Nobody:
    def helper_started(self, pid: int) -> None:
        pass

    def helper_ended(self, pid: int) -> None:
        pass


async def validated(text: str) -> Validated:
    told: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
    errands = Errands(asyncio.get_running_loop(), told.set_result, Nobody())
    errands.validate(Validate("a", 1), config("x", restart={"validate": text}))
    event = await asyncio.wait_for(told, WAIT_S)
    assert isinstance(event, Validated)
    return event


@pytest.mark.parametrize("error", [RuntimeError("odd"), KeyError(), MemoryError()])
async def test_a_validate_that_fails_as_nobody_expected_is_answered(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork(*_: object) -> int:
        raise error

    monkeypatch.setattr(Errand, "fork", fork)
    answer = await validated("true")
    assert not answer.ok
    assert (str(error) or type(error).__name__) in answer.evidence


async def test_a_program_that_is_not_there_is_named() -> None:
    answer = await validated("/no/such/cmd --now")
    assert "/no/such/cmd does not exist" in answer.evidence


async def test_a_command_that_can_not_be_watched_is_ended_and_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(_pid: int) -> int:
        raise OSError(24, "Too many open files")

    before = len(open_files("self"))
    monkeypatch.setattr(os, "pidfd_open", none_left)
    answer = await validated("sleep 600")
    assert (answer.ok, "Too many open files" in answer.evidence) == (False, True)
    assert len(open_files("self")) == before


@pytest.mark.parametrize(
    ("command", "told"),
    [("true", "exited with code 0"), ("kill -40 $$", "killed by signal 40 ")],
)
async def test_how_a_command_ended_is_told(command: str, told: str) -> None:
    answer = await validated(f"sh -c '{command}'")
    assert told in answer.evidence
    assert answer.ok is (command == "true")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["sh", "-c", "cat >&2; exit 3"], "exited with code 3: no key ***"),
        (["/no/hunter22/here"], "/no/***/here"),
    ],
)
async def test_whoever_has_a_command_carried_out_is_told_no_secrets(
    command: list[str], told: str
) -> None:
    masks = Masks()
    masks.hide({"hunter22"})
    errands = Errands(asyncio.get_running_loop(), lambda _: None, Nobody(), masks)
    errand = Errand("a", command, config("x"), 10_000, b"no key hunter22")
    ended = await asyncio.wait_for(errands.carry_out(errand), WAIT_S)
    assert told in ended.told
    assert "hunter22" not in ended.told


async def test_no_half_of_a_secret_is_left_where_output_is_cut() -> None:
    masks = Masks()
    masks.hide({"hunter22"})
    errands = Errands(asyncio.get_running_loop(), lambda _: None, Nobody(), masks)
    said = b"hunter22" + b"x" * (EVIDENCE_LENGTH_MAX - 4)
    errand = Errand("a", ["cat"], config("x"), 10_000, said)
    ended = await asyncio.wait_for(errands.carry_out(errand), WAIT_S)
    assert "er22" not in ended.told
    assert "x" * (EVIDENCE_LENGTH_MAX - 4) in ended.told
