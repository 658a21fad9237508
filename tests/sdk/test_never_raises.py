"""Whatever is handed in, nothing is raised into the agent, and what leaves can be read."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import agentd
from agentd.sdk import fields, link, usage
from agentd.wire.lines import decode_line


class Hostile:
    """Raises whatever is asked of it, but for what hypothesis needs."""

    __hash__ = object.__hash__

    def _refuse(self, *_: object) -> object:
        raise RuntimeError("hostile")

    __str__ = __eq__ = __bool__ = __float__ = __int__ = _refuse
    __len__ = __iter__ = __getitem__ = __call__ = _refuse

    def __getattr__(self, name: str) -> object:
        raise AttributeError(name) if name == "_repr_pretty_" else RuntimeError(name)


class Mocking:
    """Has every attribute, as a mock has, and each is another of its kind."""

    def __getattr__(self, name: str) -> "Mocking":
        return Mocking()


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.characters().map(lambda c: c * 2000),
    st.binary(max_size=20),
    st.builds(object),
    st.builds(Hostile),
    st.builds(Mocking),
    st.builds(lambda: 10**5000),
    st.sampled_from(["\ud800", "\0" * 5000, float, type, complex(1, 2)]),
)
NESTED = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from([*fields.BEAT, "unknown", "timeout_s", "detail", "off_thread", "type"])
ARGUMENTS = st.dictionaries(NAMES, NESTED, max_size=6)
USAGE = st.dictionaries(
    st.sampled_from(
        [
            *(
                "usage",
                "usage_metadata",
                "response_metadata",
                "llm_output",
                "generations",
                "message",
            ),
            *("input_tokens", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "id"),
            *(
                "cache_read_input_tokens",
                "cache_creation_input_tokens",
                "model",
                "type",
                "response",
            ),
        ]
    ),
    NESTED,
    max_size=6,
)


@pytest.fixture(autouse=True)
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A daemon that isn't there: every line stays in the queue, where it can be looked at."""
    with TemporaryDirectory() as directory:
        monkeypatch.setenv("AGENTD_SOCKET", str(Path(directory) / "s"))
        link.reset()
        yield
    monkeypatch.undo()
    link.reset()


def check_lines() -> None:
    """Every line that waits is one that the daemon takes."""
    here = link.LINK
    for entry in here._queue:
        assert len(entry.line) <= 1 << 16
        raw = entry.line.rstrip(b"\n")
        assert b"\n" not in raw
        json.loads(raw)
        decode_line(raw)
    link.reset()


quickly = settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@quickly
@given(ARGUMENTS, st.lists(NESTED, max_size=2))
def test_heartbeats_and_reports(arguments: dict[str, object], surplus: list[object]) -> None:
    agentd.report(*surplus, **arguments)
    agentd.heartbeat(*surplus, **arguments)
    check_lines()


@quickly
@given(NESTED)
def test_what_a_heartbeat_is_short_for(value: object) -> None:
    for function in (agentd.goal, agentd.expect_silence, agentd.parked):
        function(value)
    agentd.heartbeat()
    check_lines()


@quickly
@given(NESTED, ARGUMENTS, NESTED | USAGE, ARGUMENTS)
def test_calls(
    op: object, about: dict[str, object], reply: object, more: dict[str, object]
) -> None:
    with agentd.call(op, **about) as call:
        call.usage(reply, **more)
        call.usage(reply)
        call.failed(reply)
    check_lines()


@quickly
@given(USAGE)
def test_usage(reply: dict[str, object]) -> None:
    found = usage.read(reply)
    if found is not None:
        assert all(type(count) is int and count >= 0 for count in found.tokens.values())


@quickly
@given(NESTED, ARGUMENTS, NESTED, NESTED)
def test_steps(name: object, about: dict[str, object], args: object, output: object) -> None:
    with agentd.step(name, args=args, **about) as step:
        step.output(output)
    check_lines()


@quickly
@given(NESTED, NESTED, NESTED)
def test_what_is_durable(name: object, key: object, detail: object) -> None:
    with agentd.action(name, key, detail=detail, idempotent=detail, timeout_s=0):
        pass
    agentd.checkpoint(detail, timeout_s=0)
    assert agentd.restored(timeout_s=0) is None
    assert agentd.unfinished(timeout_s=0) == []
    with agentd.guarded(name, timeout_s=0, attempts=key, retry_on=detail):
        pass
    check_lines()


@quickly
@given(st.binary(max_size=200), st.lists(st.binary(max_size=60), max_size=5))
def test_whatever_comes_from_the_socket(one: bytes, more: list[bytes]) -> None:
    for line in (one, *more, b'{"type":"control",' + one, b'{"id":"1","ok":' + one):
        link.LINK._take(line)
    assert agentd.should_stop() in {True, False}
    agentd.control()


@quickly
@given(NESTED)
def test_an_exception_of_the_agent_passes_untouched(value: object) -> None:
    error = LookupError("the agent's own")
    for context in (
        agentd.call(value),
        agentd.step(value),
        agentd.action(value, value, timeout_s=0),
        agentd.guarded(value, timeout_s=0),
    ):
        with pytest.raises(LookupError) as caught, context:
            raise error
        assert caught.value is error
    check_lines()
