"""Steps: fingerprints that agree with the recorded runs the detectors were measured on."""

import json
import subprocess
import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agentd
from agentd.sdk import fingerprints, rendering
from agentd.sdk.failures import EmptyResults
from agentd.wire.lines import decode_line
from bench import steps_traces
from tests.sdk.daemons import FakeDaemon, Line

VOLATILE_TEXT = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(
            [
                *("0xDEADbeef", "deadbeef", "deadbee", "12345678.5", "1.5e7", "0x", "0X1f", "00x1"),
                *("2026-11-21T07:04:06.123Z", "2026-11-21 07:04", "2026-11-21t07:04:06+01:00"),
                *("123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-42661417400"),
                *("\n", "\r\n", " \t ", "\u2028", "\x1c", "\x85", "٣٤٥٦", "ff" * 20, "abcdefab-1"),
                "1234-56-78",
            ]
        ),
        st.from_regex(r"[0-9a-fA-FxTZ:. -]{1,40}", fullmatch=True),
    ),
    max_size=30,
).map("".join)


@given(VOLATILE_TEXT)
def test_texts_are_normalised_as_the_recorded_runs_were(text: str) -> None:
    assert fingerprints.normalise(text) == steps_traces.normalise(text)


@given(VOLATILE_TEXT, VOLATILE_TEXT)
def test_a_step_has_the_fingerprints_of_the_recorded_runs(args: str, out: str) -> None:
    of_args, of_out = fingerprints.Fingerprints(args), fingerprints.Fingerprints(out)
    for found, text in ((of_args, args), (of_out, out)):
        assert found.raw == steps_traces.fingerprint(text)
        assert found.normalised == steps_traces.fingerprint(steps_traces.normalise(text))
        assert found.length == len(text)
    assert fingerprints.line_hashes(of_args, of_out) == steps_traces.line_hashes(args, out)


def test_of_many_lines_the_first_64_are_told() -> None:
    args = "\n".join(f"a{chr(103 + n // 10)}{chr(103 + n % 10)}" for n in range(50))
    out = args.replace("a", "o")
    found = fingerprints.line_hashes(*map(fingerprints.Fingerprints, (args, out)))
    assert len(found) == 64
    assert found == steps_traces.line_hashes(args, out)


def told(daemon: FakeDaemon, count: int = 1) -> Line:
    return daemon.wait("step", count)[-1]


def test_a_step_is_told_when_it_ends(daemon: FakeDaemon) -> None:
    with agentd.step("search", tool="web", args="find 17 hotels", note="first try") as step:
        step.output("3 found\n\n3  found\nhotel 0xabc")
    line = told(daemon)
    assert line.pop("ms") >= 0
    assert line == {
        "type": "step",
        "step": "search",
        "tool": "web",
        "note": "first try",
        "args_fp": steps_traces.fingerprint("find 17 hotels"),
        "args_nfp": steps_traces.fingerprint("find # hotels"),
        "args_len": 14,
        "out_fp": steps_traces.fingerprint("3 found\n\n3  found\nhotel 0xabc"),
        "out_nfp": steps_traces.fingerprint("# found # found hotel #"),
        "out_len": 29,
        "lines": [
            steps_traces.fingerprint(line) for line in ("find # hotels", "# found", "hotel #")
        ],
        "ok": True,
        "poll": False,
    }
    assert decode_line(json.dumps(line).encode()).line


def test_nothing_of_the_content_leaves(daemon: FakeDaemon) -> None:
    secret = "the-patient-s-name"  # noqa: S105 - what must not leave
    step = agentd.step("s", args={secret: secret})
    with pytest.raises(ValueError, match=secret), step:
        step.output({"error": secret, "status": 503}) or int(secret)
    assert told(daemon)["error"] == "ValueError"
    assert secret not in json.dumps(daemon.lines)


def test_a_step_without_an_output_says_nothing_of_one(daemon: FakeDaemon) -> None:
    with agentd.step(17, poll=True):
        pass
    line = told(daemon)
    assert (line["step"], line["tool"], line["poll"]) == (17, "17", True)
    assert not {"out_fp", "out_nfp", "out_len", "error"} & set(line)


@dataclass
class Result:
    is_error: bool = False
    content: str = "text"


class Response:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


class Quiet:
    def error(self) -> None:
        """A method of that name says nothing."""


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ({"isError": True, "content": []}, "hidden:isError"),
        (Result(is_error=True), "hidden:isError"),
        (Result(), None),
        ({"isError": False, "error": None}, None),
        ({"error": "no such hotel"}, "hidden:error"),
        ({"error": {"code": 7}}, "hidden:error"),
        ({"error": ""}, None),
        ({"error": 0}, None),
        (Quiet(), None),
        (Response(503), "hidden:status_503"),
        (Response(399), None),
        (Response(400), "hidden:status_400"),
        ({"status": 404}, "hidden:status_404"),
        ({"status": "429"}, "hidden:status_429"),
        ({"status": "error"}, "hidden:error"),
        ({"status": "open"}, None),
        ({"status": 1_700_000_000}, None),  # a moment, not a status
        ('{"error": "quota"}', "hidden:error"),
        (b'{"isError": true}', "hidden:isError"),
        ('{"error": "quota"', None),
        ("error: quota", None),  # a text is not judged by its words
        (503, None),
        ([], None),  # empty once
    ],
)
def test_a_failure_hidden_in_a_result(
    daemon: FakeDaemon, result: object, error: str | None
) -> None:
    with agentd.step("s", tool=f"tool of {result!r:.40}") as step:
        step.output(result)
    line = told(daemon)
    assert line.get("error") == error
    assert line["ok"] is (error is None)


@pytest.mark.parametrize(
    ("results", "errors"),
    [
        (["", "", ""], [None, "hidden:empty", "hidden:empty"]),
        ([[], "[]", {}], [None, "hidden:empty", "hidden:empty"]),
        (["", "found", ""], [None, None, None]),
        ([None, None], [None, None]),  # a function that returns nothing did not look
        ([0, 0], [None, None]),
    ],
)
def test_a_result_that_is_empty_again(
    daemon: FakeDaemon, results: list[object], errors: list[str | None]
) -> None:
    for result in results:
        with agentd.step("search", tool=f"search {results}") as step:
            step.output(result)
        with agentd.step("other", tool=f"other {results} {len(daemon.lines)}") as step:
            step.output("")
    lines = [line for line in daemon.wait("step", 2 * len(results)) if line["step"] == "search"]
    assert [line.get("error") for line in lines] == errors


@pytest.mark.parametrize("option", [{"poll": True}, {"may_be_empty": True}])
def test_a_step_that_may_find_nothing(daemon: FakeDaemon, option: dict[str, bool]) -> None:
    for _ in range(3):
        with agentd.step("look", tool=f"queue {option}", **option) as step:
            step.output("")
    assert [line["ok"] for line in daemon.wait("step", 3)] == [True] * 3


def test_tools_are_forgotten_before_there_are_too_many() -> None:
    empty = EmptyResults()
    for number in range(10_000):
        assert not empty.again(f"tool {number}", "")
    assert len(empty._in_a_row) == 256


def test_the_same_value_is_the_same_text_and_shares_lines_with_its_like() -> None:
    one = rendering.rendered({"b": [1, {"x": "y"}], "a": "text", "c": set("cab"), "d": {}})
    assert one == rendering.rendered({"d": {}, "a": "text", "b": [1, {"x": "y"}], "c": set("abc")})
    assert one.splitlines() == [
        "a: text", "b.0: 1", "b.1.x: y", "c.0: a", "c.1: b", "c.2: c", "d: empty",
    ]  # fmt: skip
    assert rendering.rendered(Result()) == "content: text\nis_error: False"
    assert rendering.rendered(b"bytes") == "bytes"


class Endless:
    """An object graph with a cycle, and a mapping that would take for ever."""

    def __init__(self) -> None:
        self.me = [self] * 10_000


@pytest.mark.parametrize(
    "result",
    [
        "word 12 deadbeef01 " * 1_000_000,
        b"x" * 20_000_000,
        ["word " * 100] * 1_000_000,
        dict.fromkeys(range(300000), "word"),
        Endless(),
        "1 " * 500_000,
        "\n" * 5_000_000,
    ],
    ids=["text", "bytes", "list", "dict", "cycle", "numbers", "newlines"],
)
def test_a_huge_result_costs_no_more_than_a_large_one(daemon: FakeDaemon, result: object) -> None:
    large = "word 12 deadbeef01 " * 1_000
    ratio = cost_s(result) / cost_s(large)
    assert ratio < 10, f"{ratio:.1f} times"
    with agentd.step("s") as step:
        step.output(result)
    assert told(daemon)["out_len"] > 0


def cost_s(result: object) -> float:
    """Return the CPU of a step with that result, the least of some."""
    costs = []
    for _ in range(5):
        began = time.thread_time()
        with agentd.step("s") as step:
            step.output(result)
        costs.append(time.thread_time() - began)
    return min(costs)


def normalised(text: str) -> str:
    return fingerprints.Fingerprints(text).normalised


def page(middle: str) -> str:
    """A long text whose beginning and end are always the same, as pages of a site are."""
    return "menu " * 1000 + middle + " footer" * 1000


def test_the_middle_of_a_long_text_counts() -> None:
    assert normalised(page("hotels in Rome")) != normalised(page("hotels in Bonn"))
    one, other = ("x" * 1000 + middle + "x" * 1000 for middle in ("ruin", "tour"))
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("took 12.5 s", "took 9 s"),
        ("at 2026-11-21T07:04:06.123Z", "at 2025-01-01T17:14:16Z"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-ffff-12d3-a456-42661417400a"),
        ("at 0x7f00deadbeef", "at 0x55"),
        ("two  words", "two\nwords"),
    ],
)
def test_what_changes_by_itself_does_not_count_in_a_long_text_either(
    before: str, after: str
) -> None:
    assert normalised(page(before)) == normalised(page(after))
    assert fingerprints.Fingerprints(page(before)).raw != fingerprints.Fingerprints(page(after)).raw


def test_both_ends_of_a_very_long_text_count() -> None:
    middle = "x\n" * 100_000
    texts = [f"a{middle}b", f"z{middle}b", f"a{middle}y", f"a{middle}x\nb"]
    assert len({fingerprints.Fingerprints(text).raw for text in texts}) == 4
    assert len({normalised(text) for text in (f"k{middle}l", f"m{middle}l", f"k{middle}n")}) == 3


def test_a_step_takes_less_than_a_millisecond(daemon: FakeDaemon) -> None:
    """Of the processor; the machine is shared, so that the least of some is what counts."""
    assert cost_s("word 12 deadbeef01 " * 50) < 1e-3
    assert cost_s([{"title": f"t{n}", "url": f"http://x/{n}"} for n in range(100)]) < 2e-3
    assert daemon.wait("step", 10)


def test_the_text_of_an_object_that_cannot_be_shown_is_no_trouble(daemon: FakeDaemon) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

    with agentd.step("s", args=Hostile()) as step:
        step.output(subprocess)
    with agentd.step("t"):
        pass
    assert told(daemon)["step"] == "t"
