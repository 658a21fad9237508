"""Questions of agents: each is answered once, on its own connection, and what waits is bounded."""

import json
from typing import Any

from agentd.core.effects import Reply
from agentd.core.events import AgentAsked, Event
from agentd.core.lines import ActionBegun, BreakerAsk, CheckpointGet, CheckpointPut
from agentd.daemon.questions import BYTES_MAX, OPEN_MAX, Questions

INTENT = ActionBegun("k", "a")


class Connection:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.closed = False
        self.heard: list[dict[str, Any]] = []

    def send(self, raw: bytes) -> None:
        self.heard.append(json.loads(raw))

    def codes(self) -> list[str]:
        return ["ok" if one["ok"] else one["error"]["code"] for one in self.heard]


class Desk:
    """The questions, and what was handed to the core."""

    def __init__(self) -> None:
        self.posted: list[AgentAsked] = []
        self.questions = Questions(self._post)

    def _post(self, event: Event) -> None:
        assert isinstance(event, AgentAsked)
        self.posted.append(event)

    def reply(self, storage_error: str = "") -> None:
        """The core says yes to the last question."""
        self.questions.reply(Reply(self.posted[-1].request, result={"n": 1}), storage_error)


def test_an_answer_finds_its_question_by_its_id_and_only_once() -> None:
    desk, one, other = Desk(), Connection(), Connection()
    desk.questions.ask("a", 1, INTENT, "7", one)
    desk.questions.ask("a", 1, CheckpointGet(), 8, other)
    desk.reply()
    desk.reply()
    assert other.heard == [{"id": 8, "ok": True, "result": {"n": 1}}]
    assert one.heard == []


def test_what_could_not_be_kept_is_not_called_kept_and_what_keeps_nothing_is_answered() -> None:
    desk, speaker = Desk(), Connection()
    for line in (INTENT, CheckpointPut("1"), BreakerAsk("openai")):
        desk.questions.ask("a", 1, line, "7", speaker)
        desk.reply("disk full")
    assert speaker.codes() == ["storage_unavailable", "storage_unavailable", "ok"]


def test_whoever_left_or_wants_no_answer_is_sent_none() -> None:
    desk, gone, silent = Desk(), Connection(), Connection()
    desk.questions.ask("a", 1, INTENT, "7", gone)
    gone.closed = True
    desk.reply()
    desk.questions.ask("a", 1, CheckpointPut("1"), None, silent)
    desk.reply()
    assert gone.heard == silent.heard == []


def test_too_many_open_ones_are_refused_until_one_is_answered_or_its_asker_is_gone() -> None:
    desk, speaker, leaver = Desk(), Connection(), Connection()
    for _ in range(OPEN_MAX - 1):
        desk.questions.ask("a", 1, INTENT, "7", speaker)
    desk.questions.ask("a", 1, INTENT, "7", leaver)
    desk.questions.ask("a", 1, INTENT, "8", speaker)
    assert speaker.codes() == ["too_busy"]
    leaver.closed = True
    desk.questions.ask("a", 1, INTENT, "9", speaker)
    assert speaker.codes() == ["too_busy"]
    assert len(desk.posted) == OPEN_MAX + 1


def test_states_that_wait_for_the_disk_are_bounded_in_bytes() -> None:
    desk, speaker, leaver = Desk(), Connection(), Connection()
    half = CheckpointPut("x" * (BYTES_MAX // 2))
    desk.questions.ask("a", 1, half, "1", leaver)
    desk.questions.ask("a", 1, half, "2", speaker)
    desk.questions.ask("a", 1, CheckpointPut("x"), "3", speaker)
    desk.questions.ask("a", 1, INTENT, "4", speaker)
    assert speaker.codes() == ["too_busy"], "and what is small is taken"
    leaver.closed = True
    desk.questions.ask("a", 1, CheckpointPut("x"), "5", speaker)
    assert len(desk.posted) == 4
    for asked in list(desk.posted):
        desk.questions.refuse(asked.request, "internal", "no")
    desk.questions.ask("a", 1, half, "6", speaker)
    desk.questions.ask("a", 1, half, "7", speaker)
    assert len(desk.posted) == 6
