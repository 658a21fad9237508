"""The pure part of `agentctl top`: keys to orders, state to lines."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.cli.top.keys import Keyboard
from agentd.cli.top.lines import KEYS, lines, room_for, told_of
from agentd.cli.top.sorting import SORTS, matching, ordered
from agentd.cli.top.state import (
    QUIT,
    REASON_CHARS_MAX,
    VERBS,
    Order,
    Top,
    heard,
    press,
    scrolled,
    settled,
)
from tests.cli.incident_samples import incident
from tests.cli.stub import agent, status

FLEET = status(
    agent("calm"),
    agent("down", intent="stopped", state="stopped", health="unknown", rss_bytes=None),
    agent("ill", state="cooldown", health="unreachable", open_incident=3, rss_bytes=900 << 20),
    agent("slow", health="degraded", silence_s=95.0, tags=["nightly"]),
)


def top_of(document: dict[str, Any] = FLEET, **known: Any) -> Top:  # noqa: ANN401 - fields of Top
    return settled(Top(status=document, seen_s=100.0, **known))


def typed(top: Top, *keys: str) -> tuple[Top, Order | None]:
    order: Order | None = None
    for key in keys:
        top, order = press(top, key)
    return top, order


def drawn(top: Top) -> Top:
    """Return it as it is once it stands on a screen of 80 columns and 24 rows."""
    return scrolled(top, room_for(top, 80, 24), len(told_of(top, 80)))


def text(top: Top, width: int = 80, height: int = 24, now_s: float = 101.0) -> str:
    return "\n".join("".join(cell.text for cell in line).rstrip()
                     for line in lines(top, width, height, now_s))  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ([b"j"], ["j"]),
        ([b"\x1b[A\x1bOB"], ["up", "down"]),
        ([b"\x1b", b"[", b"5~q"], ["page up", "q"]),  # a slow line brings a key in pieces
        ([b"\r\x7f\x15"], ["enter", "backspace", "clear"]),
        ([b"\xc3", b"\xa9"], ["é"]),
        ([b"\xff"], ["\ufffd"]),
        ([b"\x1b[25~", b"K"], ["K"]),  # a sequence that nobody knows is no key
        ([b"\x1b[200~Kx\r\x1b[A\x1b[201~K"], ["pasted K", "pasted x", "K"]),
        ([b"\x00\x01"], []),
        ([b"\x1bK"], ["escape", "K"]),
    ],
)
def test_keys_are_told_apart(sent: list[bytes], keys: list[str]) -> None:
    keyboard = Keyboard()
    assert [key for part in sent for key in keyboard.take(part)] == keys
    assert not keyboard.is_waiting


def test_an_escape_alone_is_one_once_nothing_follows() -> None:
    keyboard = Keyboard()
    assert keyboard.take(b"\x1b") == []
    assert keyboard.is_waiting
    assert keyboard.give_up() == ["escape"]
    assert keyboard.give_up() == []


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_no_bytes_make_the_keyboard_hold_back_much(parts: list[bytes]) -> None:
    keyboard = Keyboard()
    for part in parts:
        assert all(keyboard.take(part))
    keyboard.take(b"\x1b[" + b"1" * 100)
    assert keyboard.take(b"q")[-1:] == ["q"]


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("attention", ["ill", "slow", "calm", "down"]),
        ("name", ["calm", "down", "ill", "slow"]),
        ("memory", ["ill", "calm", "slow", "down"]),  # not known: last
        ("silence", ["slow", "calm", "down", "ill"]),
        ("state", ["ill", "calm", "slow", "down"]),
    ],
)
def test_the_order_of_agents(sort: str, names: list[str]) -> None:
    assert [one["name"] for one in ordered(FLEET["agents"], sort)] == names


def test_every_sort_takes_an_agent_of_which_nothing_is_known() -> None:
    for sort in SORTS:
        assert ordered([{"name": "b"}, {"name": "a"}], sort)[0]["name"] == "a"


def test_a_filter_finds_names_tags_and_states() -> None:
    names = [one["name"] for one in matching(FLEET["agents"], "RUNN night")]
    assert names == ["slow"]
    assert len(matching(FLEET["agents"], "")) == 4


def test_the_selection_stays_on_its_agent_while_the_order_changes() -> None:
    top, _ = typed(top_of(), "j")
    assert (top.selected, top.row) == ("slow", 1)
    well = status(agent("calm"), agent("slow"), agent("ill"))
    assert heard(top, well, (), 102.0).selected == "slow"
    without = heard(top, status(agent("calm"), agent("ill")), (), 103.0)
    assert without.selected == "ill"  # what took its place


def test_arrows_and_letters_move_within_the_agents() -> None:
    top = top_of()
    assert typed(top, "k")[0].selected == "ill"
    assert typed(top, "down", "j", "j", "j", "j")[0].selected == "down"
    assert typed(top, "G", "g")[0].selected == "ill"
    assert typed(top_of(status()), "j", "G", "enter", "K")[1] is None


@pytest.mark.parametrize(("key", "verb"), VERBS.items())
def test_a_verb_asks_for_a_reason_and_waits_for_enter(key: str, verb: str) -> None:
    top, order = typed(top_of(), key, "t", "o", "x", "backspace", "o")
    assert order is None
    assert verb in text(top)
    assert "too_" in text(top)
    top, order = press(top, "enter")
    assert order == Order(verb, "ill", "too")
    assert top.question is None


def test_what_is_pasted_is_text_for_a_prompt_and_orders_nothing() -> None:
    pasted = Keyboard().take(b"\x1b[200~K\r\x1b[201~")
    top, order = typed(top_of(), *pasted, "enter")
    assert (order, top.question) == (None, None)
    top, order = typed(top_of(), "K", *Keyboard().take(b"\x1b[200~too\ndear\x1b[201~"))
    assert order is None
    assert top.question is not None
    assert top.question.reason == "toodear"


def test_escape_leaves_a_verb_undone() -> None:
    top, order = typed(top_of(), "K", "q", "escape")
    assert (order, top.question) == (None, None)
    assert "ill: nothing was done" in text(top)


def test_the_order_is_for_the_agent_that_was_selected_when_the_key_was_pressed() -> None:
    top, _ = typed(top_of(), "K")
    moved = heard(top, status(agent("other", health="unreachable")), (), 102.0)
    assert press(moved, "enter")[1] == Order("kill", "ill", "")


def test_a_reason_has_a_bound_and_its_end_is_shown() -> None:
    top, _ = typed(top_of(), "K", *("abcdefghij" * 30))
    assert top.question is not None
    assert len(top.question.reason) == REASON_CHARS_MAX
    assert text(top).splitlines()[-1].endswith("hij_")


def test_letters_typed_into_the_filter_are_no_orders() -> None:
    top, order = typed(top_of(), "/", "q", "K", "enter", "K")
    assert (order, top.words) == (None, "qK")
    assert 'no agent matches "qK"' in text(top)
    assert typed(top, "escape")[0].words == ""


@pytest.mark.parametrize("key", ["q", "Q", "interrupt"])
def test_a_key_leaves(key: str) -> None:
    assert press(top_of(), key)[1] == Order(QUIT)


def test_ctrl_c_leaves_a_question_too() -> None:
    assert typed(top_of(), "K", "interrupt")[1] == Order(QUIT)


def test_a_daemon_that_is_gone_is_never_shown_as_well() -> None:
    for top, now_s in ((replace(top_of(), lost="no answer from agentd"), 112.0), (top_of(), 112.0)):
        shown = lines(top, 80, 24, now_s)
        assert "NOT REACHABLE, last seen 12s ago" in text(top, now_s=now_s)
        assert "healthy?" in text(top, now_s=now_s)
        assert not any("green" in cell.style for line in shown for cell in line)
    assert "NOT REACHABLE" not in text(top_of())


def test_open_incidents_stand_below_those_first_that_nobody_has_in_hand() -> None:
    known = incident(id=7, acknowledged_by="ada")
    top = replace(top_of(), incidents=(known, incident(id=3), *(incident(id=n) for n in (1, 2))))
    shown = text(top)
    assert shown.index("incident 3") < shown.index("and 1 more")
    assert "incident 7" not in shown
    assert "4 open incidents" in shown


def test_details_stand_below_the_agents_and_can_be_read_to_their_end() -> None:
    top, _ = typed(top_of(), "enter")
    assert "ill: cooldown, unreachable" in text(top)
    assert "intent     up" in text(top)
    assert "tags" in text(typed(top, "page down")[0])
    assert "intent" not in text(typed(top, "escape")[0])
    assert "slow: running, degraded" in text(typed(top, "j")[0])


def test_the_way_back_from_the_end_of_the_details_is_as_long_as_the_way_there() -> None:
    top, _ = typed(top_of(), "enter")
    shown = [text(top)]
    for _press in range(20):
        top = drawn(press(top, "page down", 5)[0])
        if text(top) == shown[-1]:
            continue  # at the end: nothing moves
        shown.append(text(top))
    assert len(shown) > 2
    for _press in range(len(shown) - 1):
        before, top = text(top), drawn(press(top, "page up", 5)[0])
        assert text(top) != before
    assert text(top) == shown[0]
    # Closed and opened again, or of another agent, they begin at the beginning.
    assert drawn(typed(top, "page down", "enter")[0]).detail == 0


@pytest.mark.parametrize("height", [1, 2, 5, 10, 24, 60])
@pytest.mark.parametrize("keys", [(), ("enter",), ("?",), ("K",), ("/",)])
def test_a_screen_is_never_longer_than_it_is(height: int, keys: tuple[str, ...]) -> None:
    many = status(*(agent(f"agent-{number}") for number in range(50)))
    top = replace(typed(top_of(many), *keys)[0], incidents=(incident(),))
    assert len(lines(top, 80, height, 101.0)) <= max(height, 1)


def test_the_selected_agent_is_always_on_the_screen() -> None:
    top = top_of(status(*(agent(f"agent-{number:02}") for number in range(50))))
    for keys in (["G"], ["g"], ["page down"] * 3, ["enter"], ["j"] * 30):
        top, _ = typed(top, *keys)
        top = drawn(top)
        assert f"> {top.selected}" in text(top)


def test_80_columns_hold_the_keys_and_the_words_that_matter() -> None:
    shown = text(top_of())
    assert KEYS in shown
    assert max(map(len, KEYS.splitlines())) <= 80
    head = shown.splitlines()[2].split()
    assert {"AGENT", "STATE", "HEALTH", "CPU%", "MEMORY", "REASON"} <= set(head)


def test_what_an_agent_says_of_itself_moves_no_cursor() -> None:
    nasty = agent("a", task="\x1b[2J\x07<img onerror=x>", status="\x1b]0;x\x07", tool="\u202e")
    top, _ = typed(top_of(status(nasty)), "enter")
    shown = text(replace(top, incidents=(incident(summary="\x1b[H\x9b2J"),)), 200, 50)
    assert "\\x1b[2J" in shown
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
