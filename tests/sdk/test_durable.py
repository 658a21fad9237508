"""Actions and checkpoints: what the daemon has on disk before the agent goes on."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentd
from agentd.sdk import link
from agentd.wire.lines import decode_line
from tests.sdk.daemons import DaemonProcess, FakeDaemon, Line, granted, until


def refuse(line: Line) -> Line:
    error = {"code": "storage_unavailable", "message": "the disk is full", "hint": ""}
    return {"id": line["id"], "ok": False, "error": error}


def ignore(_: Line) -> None:
    """A daemon that never answers."""


def test_the_intent_is_acknowledged_before_the_block_begins(daemon: FakeDaemon) -> None:
    with agentd.action(
        "stripe.refund", key="refund:918", idempotent=True, detail={"euro": 5}
    ) as action:
        assert action.acknowledged
        (intent,) = daemon.of("intent")
        assert daemon.of("done") == []
    (done,) = daemon.wait("done")
    assert intent == {
        "type": "intent",
        "key": "refund:918",
        "action": "stripe.refund",
        "idempotent": True,
        "detail": {"euro": 5},
        "id": intent["id"],
    }
    assert (done["key"], done["ok"]) == ("refund:918", True)


def test_an_action_is_not_idempotent_unless_it_says_so(daemon: FakeDaemon) -> None:
    with agentd.action("pay", key="k"):
        pass
    with agentd.action("pay", key="k", idempotent="perhaps"):
        pass
    for intent in daemon.of("intent"):
        assert intent["idempotent"] is False
        assert "detail" not in intent


def test_an_exception_ends_the_action_as_not_ok_and_passes(daemon: FakeDaemon) -> None:
    with pytest.raises(KeyError), agentd.action("pay", key="k"):
        raise KeyError("card")
    assert daemon.wait("done")[0]["ok"] is False


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_ends_the_process_leaves_the_action_unfinished(
    daemon: FakeDaemon, end: type[BaseException]
) -> None:
    with pytest.raises(end), agentd.action("pay", key="k"):
        raise end
    agentd.heartbeat()
    daemon.wait()
    assert daemon.of("done") == []


def test_a_refused_intent_is_not_acknowledged_and_the_block_runs(daemon: FakeDaemon) -> None:
    daemon.answer = refuse
    ran = False
    with agentd.action("pay", key="k") as action:
        ran = True
    assert ran
    assert not action.acknowledged
    assert "the disk is full" in link.LINK.last_trouble


def test_an_answer_that_never_comes_is_waited_for_no_longer_than_said(daemon: FakeDaemon) -> None:
    daemon.answer = ignore
    began = time.monotonic()
    with agentd.action("pay", key="k", timeout_s=0.3) as action:
        took_s = time.monotonic() - began
    assert not action.acknowledged
    assert took_s >= 0.3
    # A daemon that is mute is not waited for that long again …
    began = time.monotonic()
    assert not agentd.checkpoint({}, timeout_s=60)
    assert time.monotonic() - began < 30
    # … until it speaks.
    daemon.answer = granted
    assert agentd.checkpoint({}, timeout_s=60)
    assert not link.LINK.mute


def test_a_daemon_that_has_long_been_away_is_hardly_waited_for(path: Path) -> None:
    assert not agentd.checkpoint({}, timeout_s=0.1)
    link.LINK.mute = False  # judged by its absence alone
    link.LINK.away_since -= 61
    began = time.monotonic()
    assert not agentd.checkpoint({}, timeout_s=60)
    assert time.monotonic() - began < 30
    assert not path.exists()


def test_a_checkpoint_comes_back_as_it_was(daemon: FakeDaemon) -> None:
    saved: dict[str, object] = {"state": None}

    def keep(line: Line) -> Line:
        if line["type"] == "checkpoint.put":
            saved["state"] = line["state"]
            return {"id": line["id"], "ok": True, "result": {}}
        return {"id": line["id"], "ok": True, "result": {**saved, "unfinished": [{"key": "k"}]}}

    daemon.answer = keep
    assert agentd.restored(unanswered="nobody knows") is None
    state = {"done": [1, 2], "text": "two\nlines — ü \u2028", "none": None, "x": 0.5}
    assert agentd.checkpoint(state)
    assert agentd.restored() == state
    assert agentd.unfinished() == [{"key": "k"}]
    for line in daemon.lines:
        assert decode_line(json.dumps(line).encode()).line


def test_nothing_saved_can_be_told_from_nobody_knows(daemon: FakeDaemon) -> None:
    daemon.answer = refuse
    assert agentd.restored() is None
    assert agentd.restored(unanswered="nobody knows") == "nobody knows"
    assert agentd.unfinished() == []
    assert agentd.unfinished(unanswered=None) == []
    assert agentd.unfinished(unanswered="nobody knows") == "nobody knows"


@pytest.mark.parametrize(
    "state", [float("nan"), {1, 2}, object(), "x" * (1 << 20), {"a": [float("inf")]}]
)
def test_a_state_that_cannot_be_kept_is_not_said_to_be(daemon: FakeDaemon, state: object) -> None:
    assert agentd.checkpoint(state) is False
    assert link.LINK.ignored == 1
    assert daemon.of("checkpoint.put") == []


def test_a_state_that_waits_is_not_pushed_out_by_heartbeats(path: Path) -> None:
    saved: list[bool] = []
    state = "x" * 500_000

    def save() -> None:
        saved.append(agentd.checkpoint(state, timeout_s=60))

    saving = threading.Thread(target=save)
    saving.start()
    until(lambda: any(entry.kind == link.AWAITED for entry in link.LINK._queue))
    for _ in range(3000):
        agentd.heartbeat(task="x" * 100)
    with FakeDaemon(path):
        saving.join(60)
    assert saved == [True]


def test_states_that_nobody_takes_are_bounded(path: Path) -> None:
    for _ in range(20):
        agentd.checkpoint("x" * 500_000, timeout_s=0)
    assert sum(len(entry.line) for entry in link.LINK._queue) <= link.AWAITED_BYTES_MAX
    assert not path.exists()


def test_a_large_state_is_kept(daemon: FakeDaemon) -> None:
    state = "x" * ((1 << 20) - 100)
    assert agentd.checkpoint(state, timeout_s=30)
    assert daemon.of("checkpoint.put")[0]["state"] == state


def test_a_state_that_refers_to_itself_is_refused(daemon: FakeDaemon) -> None:
    state: list[object] = []
    state.append(state)
    assert agentd.checkpoint(state) is False
    assert daemon.lines == []


def test_an_unanswered_intent_is_sent_again_to_the_next_daemon(path: Path) -> None:
    came = threading.Event()

    def swallow(_: Line) -> None:
        came.set()

    acknowledged: list[bool] = []

    def act() -> None:
        with agentd.action("pay", key="k", timeout_s=30) as action:
            acknowledged.append(action.acknowledged)

    with FakeDaemon(path, swallow) as daemon:
        acting = threading.Thread(target=act)
        acting.start()
        assert came.wait(15)
    daemon.answer = granted
    with daemon:
        acting.join(15)
        assert acknowledged == [True]
        daemon.wait("done")
        first, second = daemon.of("intent")
        assert first == second


def test_an_end_that_was_not_answered_is_told_again(path: Path) -> None:
    def answer(line: Line) -> Line | None:
        return None if line["type"] == "done" else granted(line)

    with FakeDaemon(path, answer) as daemon:
        with agentd.action("pay", key="k"):
            pass
        daemon.wait("done")
    daemon.answer = granted
    with daemon:
        until(lambda: agentd.heartbeat() or len(daemon.of("done")) >= 2)
        until(lambda: agentd.heartbeat() or not link.LINK._awaited)


def test_ends_that_nobody_answers_are_bounded(daemon: FakeDaemon) -> None:
    daemon.answer = ignore
    for number in range(200):
        with agentd.action("pay", key=str(number), timeout_s=0):
            pass
    assert len(link.LINK._awaited) <= 64
    assert link.LINK.replies == {}


def test_other_threads_beat_while_one_waits(daemon: FakeDaemon) -> None:
    daemon.answer = ignore
    agentd.heartbeat()
    began = time.monotonic()
    waiting = threading.Thread(target=lambda: agentd.checkpoint({}, timeout_s=1.0))
    waiting.start()
    daemon.wait("checkpoint.put")
    agentd.heartbeat()
    daemon.wait(count=2)
    assert time.monotonic() - began < 1.0 or not waiting.is_alive()
    waiting.join(15)


@pytest.mark.usefixtures("daemon")
def test_many_threads_get_each_its_own_answer() -> None:
    answers: list[bool] = []

    def save() -> None:
        answers.extend(agentd.checkpoint({"n": n}, timeout_s=30) for n in range(20))

    threads = [threading.Thread(target=save) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [True] * 120


async def test_the_loop_runs_on_while_an_action_waits(daemon: FakeDaemon) -> None:
    released = asyncio.Event()
    held: list[Line] = []

    def hold(line: Line) -> Line | None:
        if line["type"] == "intent" and not released.is_set():
            held.append(line)
            return None
        return granted(line)

    daemon.answer = hold
    turns = 0

    async def act() -> bool:
        async with agentd.action("pay", key="k", timeout_s=30) as action:
            return action.acknowledged

    acting = asyncio.create_task(act())
    while not held:
        turns += 1
        await asyncio.sleep(0.001)
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not acting.done()
    peer = daemon._peers[0]
    peer.sendall(f'{{"id":"{held[0]["id"]}","ok":true,"result":{{}}}}\n'.encode())
    assert await asyncio.wait_for(acting, 15)
    assert turns >= 1


async def test_a_cancelled_wait_leaves_nothing_behind(daemon: FakeDaemon) -> None:
    daemon.answer = ignore

    async def act() -> None:
        async with agentd.action("pay", key="k", timeout_s=60):
            raise AssertionError

    acting = asyncio.create_task(act())
    await asyncio.to_thread(daemon.wait, "intent")
    assert link.LINK.replies
    acting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await acting
    assert link.LINK.replies == {}


@pytest.fixture
def stopped(path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(path) as process:
        agentd.heartbeat()
        process.stop()
        yield process


def test_a_stopped_daemon_acknowledges_nothing(stopped: DaemonProcess) -> None:
    with agentd.action("pay", key="k", timeout_s=0.2) as action:
        assert not action.acknowledged
    assert not agentd.checkpoint({"a": 1}, timeout_s=0.2)
    stopped.go_on()
    assert agentd.checkpoint({"a": 1}, timeout_s=30)


@pytest.mark.parametrize("wrong", [None, "soon", -1, float("nan"), object()])
def test_a_timeout_that_is_none(daemon: FakeDaemon, wrong: object) -> None:
    assert agentd.checkpoint({}, timeout_s=wrong) in {True, False}
    assert daemon.wait("checkpoint.put")


@pytest.mark.parametrize("name", [None, "", b"bytes", object()])
def test_an_action_without_a_name_runs_and_is_not_told(daemon: FakeDaemon, name: object) -> None:
    ran = False
    with agentd.action(name, "key", 1, 2, surplus=3) as action:
        ran = True
    assert ran
    assert not action.acknowledged
    assert daemon.of("intent") == []
