"""The recorder: what it keeps, within which bounds, and what it does when a disk refuses."""

import asyncio
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentd.config.agent import AgentConfig
from agentd.config.schema import Config
from agentd.core import events as ev
from agentd.core.lines import ActionBegun, CheckpointPut, Heartbeat, Step
from agentd.core.records import Record
from agentd.core.supervisor import Supervisor
from agentd.daemon import record_entries, record_segments, recorder
from agentd.daemon.clock import wall_ms
from agentd.daemon.masks import Masks
from agentd.daemon.record_segments import NAME, Segments, SegmentsRefused, Span, frames
from agentd.daemon.record_traces import trace
from agentd.daemon.recorder import Recorder
from agentd.simulate.trace import read_trace
from tests.daemon.harness import no_thread_left

MAX = 1 << 20
BOOT = bytes(16)
BEAT = Heartbeat(tokens=900, cost_micros=10_000, task="ticket-918")


def span(at_ms: int, boot: bytes = BOOT) -> Span:
    return Span(boot, at_ms, at_ms, 0)


def lines_of(state_dir: Path, *names: str, since_ms: int = 0) -> list[Any]:
    """The trace of what lies on disk."""
    return list(trace(state_dir, names or ("a",), since_ms, wall_ms() + 1_000, str))


def said(lines: Sequence[Any]) -> list[Any]:
    return [line["line"] for line in lines if "line" in line]


# Segments on disk.


def test_frames_come_back_in_order_over_segments(tmp_path: Path) -> None:
    for round_ in range(3):
        segments = Segments(tmp_path)
        for number in range(5):
            at_ms = round_ * 5 + number
            assert segments.append(span(at_ms), b'[%d,"x"]\n' % at_ms, MAX, b"")
        segments.close()
    assert [each.begins_ms for each, _ in frames(tmp_path, 0)] == list(range(15))
    assert [each.begins_ms for each, _ in frames(tmp_path, 12)] == list(range(10, 15))


def test_its_files_are_ours_alone(tmp_path: Path) -> None:
    segments = Segments(tmp_path)
    segments.append(span(1), b"x", MAX, b"")
    segments.close()
    folder = tmp_path / NAME
    [file] = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_symlink_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises((SegmentsRefused, OSError)):
        Segments(tmp_path).append(span(1), b"x", MAX, b"")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_directory_that_others_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir(mode=0o755)
    (tmp_path / NAME).chmod(0o755)
    with pytest.raises(SegmentsRefused):
        Segments(tmp_path).append(span(1), b"x", MAX, b"")


def test_the_oldest_segment_goes_first_and_the_bound_holds(tmp_path: Path) -> None:
    segments, bytes_max = Segments(tmp_path), 300_000
    for number in range(200):
        assert segments.append(span(number), os.urandom(5_000), bytes_max, b"")
        used = sum(file.stat().st_size for file in (tmp_path / NAME).iterdir())
        assert used == segments.used_bytes <= bytes_max
    kept = [each.begins_ms for each, _ in frames(tmp_path, 0)]
    assert kept == list(range(kept[0], 200))
    assert len(kept) * 5_000 > bytes_max / 2
    assert segments.append(span(200), b"small", 80_000, b"")  # the bound was lowered
    assert sum(file.stat().st_size for file in (tmp_path / NAME).iterdir()) <= 80_000


def test_a_frame_that_is_more_than_all_may_be_is_not_written(tmp_path: Path) -> None:
    segments = Segments(tmp_path)
    assert segments.append(span(1), b"x", 10_000, b"")
    assert not segments.append(span(2), os.urandom(20_000), 10_000, b"")
    assert [each.begins_ms for each, _ in frames(tmp_path, 0)] == [1]


def test_a_torn_segment_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    segments = Segments(tmp_path)
    for number in range(3):
        segments.append(span(number), b"payload %d" % number, MAX, b"")
    segments.close()
    [file] = (tmp_path / NAME).iterdir()
    whole = file.read_bytes()
    size = len(whole) // 3
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        assert len(list(frames(tmp_path, 0))) == cut // size
    for place in range(size, 2 * size, 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert [each.begins_ms for each, _ in frames(tmp_path, 0)] == [0]


def test_a_new_segment_says_what_is_wanted_of_each_agent(tmp_path: Path) -> None:
    for _ in range(2):
        segments = Segments(tmp_path)
        segments.append(span(1), b"1\n", MAX, b"fleet\n")
        segments.append(span(2), b"2\n", MAX, b"fleet\n")
        segments.close()
    assert [payload for _, payload in frames(tmp_path, 0)] == [b"1\nfleet\n", b"2\n"] * 2


# The recorder itself.


class RecorderHarness:
    """A recorder on a directory, with a fleet of one agent behind it."""

    def __init__(self, state_dir: Path, bytes_max: int = MAX, secrets: Sequence[str] = ()) -> None:
        self.notes: list[Record] = []
        self.state_dir = state_dir
        self.core = Supervisor(
            Config(agents={"a": AgentConfig(command=["x"])}), lambda: 0.0, lambda: "id"
        )
        self.recorder = Recorder(
            asyncio.get_running_loop(),
            state_dir,
            "boot",
            agents=self.core.agents,
            masks=Masks(tuple(secrets)),
            note=self.notes.append,
        )
        self.recorder.set_max(bytes_max)
        self.recorded = recorder.RecordedCore(self.core, self.recorder)
        self.now_ms = recorder.boottime_ms()
        self.tell(ev.Started())
        self.tell(ev.Spawned("a", 1, 7))

    def tell(self, event: ev.Event) -> None:
        self.now_ms += 1
        self.recorded.step(event, self.now_ms)

    def beat(self, count: int = 1, line: Heartbeat = BEAT) -> None:
        self.tell(ev.LinesReceived("a", 1, [line] * count))

    async def lines(self) -> list[Any]:
        await self.recorder.flushed()
        return lines_of(self.state_dir)


async def test_what_was_said_and_seen_is_in_the_trace(tmp_path: Path) -> None:
    harness = RecorderHarness(tmp_path)
    harness.beat(2)
    harness.tell(ev.Sampled("a", 1, 5_000, cpu_ms=7))
    harness.tell(ev.Requested("r", "pause", "ada", ("a",), "lunch"))
    found = await harness.lines()
    assert said(found) == [{"tokens": 900, "cost_usd": 0.01, "task": "ticket-918"}] * 2
    assert {"agent": "a", "rss": 5_000, "cpu_ms": 7}.items() <= found[3].items()
    assert found[4]["cmd"] == {"cmd": "pause", "args": {"select": ["a"], "reason": "lunch"}}
    assert found[-1]["end"]
    read_trace([json.dumps(line) for line in found], ["a"])
    harness.recorder.close()


async def test_content_and_secrets_are_not_written_down(tmp_path: Path) -> None:
    harness = RecorderHarness(tmp_path, secrets=['hunter2-"quoted"'])
    harness.tell(ev.AgentAsked("a", 1, "q", CheckpointPut('{"card":"4111-state"}')))
    harness.tell(ev.AgentAsked("a", 1, "q", ActionBegun("k", "refund", detail='"4111-detail"')))
    harness.tell(ev.LinesReceived("a", 1, [Step(tool="t", note="4111-note")]))
    harness.beat(line=Heartbeat(task='log in with hunter2-"quoted"'))
    harness.beat()
    found = await harness.lines()
    assert [line.get("type") for line in said(found)[:3]] == ["checkpoint.put", "intent", "step"]
    assert said(found)[3] == {"task": "log in with ***"}
    raw = b"".join(payload for _, payload in frames(tmp_path, 0))
    assert b"4111" not in raw
    assert b"hunter2" not in raw
    assert b"ticket-918" in raw
    harness.recorder.close()


async def test_beyond_its_buffer_it_drops_and_says_so(tmp_path: Path) -> None:
    harness = RecorderHarness(tmp_path)
    for _ in range(30):
        harness.beat(1_000)
    assert harness.core.agents["a"].durable.heartbeats == 30_000
    assert harness.recorder.dropped >= 30_000 - recorder.LINES_MAX
    found = await harness.lines()
    [note] = [line["note"] for line in found if "note" in line]
    assert note == f"{harness.recorder.dropped} lines were not recorded"
    assert len(said(found)) + harness.recorder.dropped == 30_000
    harness.recorder.close()


async def test_long_lines_are_bounded_by_their_size(tmp_path: Path) -> None:
    harness = RecorderHarness(tmp_path)
    for _ in range(20):
        harness.beat(1_000, Heartbeat(task="x" * 4_000, goal="y" * 4_000))
    assert harness.recorder.dropped >= 20_000 - recorder.BYTES_MAX // 8_000 - 1_000
    harness.recorder.close()


async def test_a_short_line_does_not_hide_the_size_of_those_before_it(tmp_path: Path) -> None:
    harness = RecorderHarness(tmp_path)
    long = Heartbeat(task="x" * 4_000, goal="y" * 4_000, latencies_ms=(1.5,) * 1_000)
    for _ in range(20):
        harness.tell(ev.LinesReceived("a", 1, [*[long] * 100, BEAT]))
    assert harness.recorder.dropped >= 2_020 - recorder.BYTES_MAX // 16_000 - 101
    harness.recorder.close()


async def test_it_hands_over_every_few_seconds_and_sooner_when_it_is_much(tmp_path: Path) -> None:
    harness = RecorderHarness(tmp_path)
    harness.beat()
    for _ in range(recorder.EVERY_TICKS - 1):
        harness.recorder.tick()
    assert harness.recorder.lines == 0
    harness.recorder.tick()
    assert harness.recorder.lines > 0
    before = harness.recorder.lines
    harness.beat(recorder.HASTE_LINES)
    harness.recorder.tick()
    assert harness.recorder.lines == before + recorder.HASTE_LINES
    harness.recorder.close()


async def test_off_it_keeps_nothing_and_deletes_what_there_is(tmp_path: Path) -> None:
    harness = RecorderHarness(tmp_path, bytes_max=0)
    harness.beat()
    await harness.recorder.flushed()
    assert not (tmp_path / NAME).exists()
    harness.recorder.set_max(MAX)
    harness.beat()
    assert said(await harness.lines())
    harness.recorder.set_max(0)
    await harness.recorder.flushed()
    assert not list((tmp_path / NAME).iterdir())
    harness.recorder.close()


async def test_h_a_full_disk_pauses_it_says_so_once_and_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = RecorderHarness(tmp_path)
    harness.beat()
    await harness.recorder.flushed()
    whole = os.write

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_segments.os, "write", full)
    monkeypatch.setattr(recorder, "RETRY_MS", 0)
    for _ in range(3):
        harness.beat(10)
        await harness.recorder.flushed()
        await asyncio.sleep(0)
    assert [note.severity for note in harness.notes] == ["warning"]
    assert "No space left" in harness.notes[0].message
    monkeypatch.setattr(record_segments.os, "write", whole)
    harness.beat(7)
    found = await harness.lines()
    assert [note.severity for note in harness.notes] == ["warning", "info"]
    assert len(said(found)) == 8
    [note] = [line["note"] for line in found if "note" in line]
    assert note == "30 lines were not recorded"
    harness.recorder.close()


async def test_a_full_disk_is_not_tried_each_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = RecorderHarness(tmp_path)
    tried = []

    def full(fd: int, _data: bytes) -> int:
        tried.append(fd)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_segments.os, "write", full)
    for _ in range(5):
        harness.beat(10)
        await harness.recorder.flushed()
    assert len(tried) == 1
    assert harness.recorder.dropped >= 40
    harness.recorder.close()


async def test_a_mistake_in_it_keeps_nothing_from_the_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = RecorderHarness(tmp_path)
    monkeypatch.setattr(record_entries, "weight_bytes", lambda _lines: 1 // 0)
    harness.beat(3)
    assert harness.core.agents["a"].durable.heartbeats == 3
    assert harness.recorder.faults == 1
    harness.recorder.close()


async def test_p4_without_a_thread_it_keeps_what_there_is_until_it_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = RecorderHarness(tmp_path)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(threading.Thread, "start", no_thread_left)
        harness.beat()
        # More often than batches may be on their way at once.
        for _ in range(2 * recorder.BATCHES_MAX * recorder.EVERY_TICKS):
            harness.recorder.tick()
    harness.beat()
    assert len(said(await harness.lines())) == 2
    harness.recorder.close()


async def test_p4_without_a_thread_it_ends_in_peace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = RecorderHarness(tmp_path)
    harness.beat()
    monkeypatch.setattr(threading.Thread, "start", no_thread_left)
    harness.recorder.close()
    assert not (tmp_path / NAME).exists()
