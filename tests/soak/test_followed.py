"""What the soak hears and sees as it goes on: events in order, and control groups left behind."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.daemon.harness import Document
from tests.soak import looks
from tests.soak.listener import Listener
from tests.soak.looks import GROUP_EMPTY_S, Looker
from tests.soak.soak import Soak


@pytest.mark.parametrize("ids", [(1, 2, 4), (1, 2, 2), (2,)])
def test_an_event_that_is_missing_or_sent_twice_is_found(ids: tuple[int, ...]) -> None:
    broken: list[str] = []
    listener = Listener(Path(), broken.append)
    for number in ids:
        listener._take(told_of("agent.started", number))
    assert "INV6" in "".join(broken)


def told_of(event: str, number: int, **data: object) -> Document:
    return {
        "id": number,
        "event": event,
        "agent": "a",
        "incarnation": 1,
        "message": event,
        "data": data,
    }


@pytest.mark.parametrize(
    ("begin", "data", "is_broken"),
    [
        ("agent.starting", {}, False),
        ("agent.adopted", {"unrecorded": True}, False),
        ("agent.adopted", {}, True),
    ],
)
def test_inv7_an_end_without_a_start_is_found(
    begin: str, data: Document, *, is_broken: bool
) -> None:
    broken: list[str] = []
    listener = Listener(Path(), broken.append)
    listener._take(told_of(begin, 1, **data))
    listener._take(told_of("agent.exited", 2))
    assert ["INV7" in one for one in broken] == [True] * is_broken


def test_inv12_a_control_group_in_which_nobody_lives_is_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soak = Soak(tmp_path, say=lambda _text: None)
    with closing(soak.fleet):
        soak.fleet.bystander_pid = 1
        looker = Looker(soak)
        monkeypatch.setattr(looks, "orphaned_groups", lambda _beside: ["run-x"])
        for now in (0.0, GROUP_EMPTY_S):
            looker._look_for_groups(now)
        assert soak.broken == []
        for now in (GROUP_EMPTY_S + 1, GROUP_EMPTY_S + 2):
            looker._look_for_groups(now)
        assert ["run-x" in one for one in soak.broken] == [True]
