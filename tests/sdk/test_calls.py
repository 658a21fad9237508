"""Calls, and the usage of every provider that is known."""

from types import SimpleNamespace as Shape
from typing import Any

import pytest
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import ResponseUsage

import agentd
from agentd.sdk import link, usage
from tests.sdk.daemons import FakeDaemon

OPENAI_CHAT = {
    "prompt_tokens": 1000,
    "completion_tokens": 80,
    "total_tokens": 1080,
    "prompt_tokens_details": {"cached_tokens": 700, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 60},
}
OPENAI_RESPONSES = {
    "input_tokens": 1000,
    "input_tokens_details": {"cached_tokens": 700, "cache_write_tokens": 0},
    "output_tokens": 80,
    "output_tokens_details": {"reasoning_tokens": 60},
    "total_tokens": 1080,
}
ANTHROPIC = {
    "input_tokens": 200,
    "cache_read_input_tokens": 700,
    "cache_creation_input_tokens": 100,
    "output_tokens": 80,
}
LANGCHAIN = {
    "input_tokens": 1000,
    "output_tokens": 80,
    "total_tokens": 1080,
    "input_token_details": {"cache_read": 700, "cache_creation": 100},
    "output_token_details": {"reasoning": 60},
}
WITHOUT_WRITING = {
    "input_tokens": 1000,
    "output_tokens": 80,
    "cache_read_input_tokens": 700,
    "reasoning_output_tokens": 60,
}
WITH_WRITING = {**WITHOUT_WRITING, "cache_write_input_tokens": 100}
ANTHROPIC_WIRE = {
    "input_tokens": 1000,  # 200 + 700 + 100: what is cached stands outside there
    "output_tokens": 80,
    "cache_read_input_tokens": 700,
    "cache_write_input_tokens": 100,
}


def shape(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Make objects with attributes of nested dicts, as the packages' own types are."""
    if isinstance(value, dict):
        return Shape(**{name: shape(inner) for name, inner in value.items()})
    return [shape(inner) for inner in value] if isinstance(value, list) else value


REPLIES: dict[str, tuple[dict[str, Any], dict[str, int], str | None]] = {
    "openai chat": (
        {"id": "chatcmpl-1", "model": "gpt-x", "usage": OPENAI_CHAT, "choices": []},
        WITHOUT_WRITING,
        "gpt-x",
    ),
    "openai responses": (
        {"id": "resp_1", "model": "gpt-x", "usage": OPENAI_RESPONSES},
        WITHOUT_WRITING,
        "gpt-x",
    ),
    "openai responses, the last event of a stream": (
        {"type": "response.completed", "response": {"id": "r", "usage": OPENAI_RESPONSES}},
        WITHOUT_WRITING,
        None,
    ),
    "anthropic message": (
        {"id": "msg_1", "model": "claude-x", "type": "message", "usage": ANTHROPIC},
        ANTHROPIC_WIRE,
        "claude-x",
    ),
    "anthropic message_start": (
        {"type": "message_start", "message": {"id": "m", "model": "c", "usage": ANTHROPIC}},
        ANTHROPIC_WIRE,
        "c",
    ),
    "LangChain message": (
        {
            "id": "run-1",
            "content": "…",
            "usage_metadata": LANGCHAIN,
            "response_metadata": {"model_name": "gpt-x", "token_usage": OPENAI_CHAT},
        },
        WITH_WRITING,
        "gpt-x",
    ),
    "LangChain message of a provider that says it in metadata only": (
        {
            "usage_metadata": None,
            "response_metadata": {"model_name": "gpt-x", "token_usage": OPENAI_CHAT},
        },
        WITHOUT_WRITING,
        "gpt-x",
    ),
    "LangChain result": (
        {
            "generations": [[{"text": "…", "message": {"id": "r", "usage_metadata": LANGCHAIN}}]],
            "llm_output": {"model_name": "gpt-x"},
        },
        WITH_WRITING,
        "gpt-x",
    ),
    "LangChain result of a plain model": (
        {"generations": [[]], "llm_output": {"token_usage": OPENAI_CHAT, "model_name": "gpt-x"}},
        WITHOUT_WRITING,
        "gpt-x",
    ),
    "pydantic-ai": (
        {
            "usage": {
                "input_tokens": 1000,
                "cache_read_tokens": 700,
                "cache_write_tokens": 100,
                "output_tokens": 80,
            }
        },
        ANTHROPIC_WIRE,
        None,
    ),
    "google": (
        {
            "usage_metadata": {
                "prompt_token_count": 1000,
                "cached_content_token_count": 700,
                "candidates_token_count": 20,
                "thoughts_token_count": 60,
            }
        },
        WITHOUT_WRITING,
        None,
    ),
}


@pytest.mark.parametrize("kind", [dict, Shape])
@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_of_every_known_provider(name: str, kind: type) -> None:
    reply, expected, model = REPLIES[name]
    found = usage.read(reply if kind is dict else shape(reply))
    assert found is not None
    assert found.tokens == expected
    assert found.model == model


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (OPENAI_CHAT, WITHOUT_WRITING),
        (OPENAI_RESPONSES, WITHOUT_WRITING),
        (ANTHROPIC, ANTHROPIC_WIRE),
        (LANGCHAIN, WITH_WRITING),
        (WITH_WRITING, WITH_WRITING),  # the wire's own names
        (WITHOUT_WRITING, WITHOUT_WRITING),
        ({"input_tokens": 5, "cache_read_input_tokens": 9}, {
            "input_tokens": 5, "output_tokens": 0, "cache_read_input_tokens": 9}),
        (900, {"input_tokens": 900}),
        ({"input_tokens": 5, "output_tokens": None}, {"input_tokens": 5, "output_tokens": 0}),
    ],
)  # fmt: skip
def test_usage_objects_by_themselves(said: object, expected: dict[str, int]) -> None:
    if said == {"input_tokens": 5, "cache_read_input_tokens": 9}:
        # More cached than came in: it must have been counted outside.
        expected = {"input_tokens": 14, "output_tokens": 0, "cache_read_input_tokens": 9}
    found = usage.read(said)
    assert found is not None
    assert found.tokens == expected


@pytest.mark.parametrize("said", [None, "900", object(), {}, [], {"usage": None}, True, -1, {1: 2}])
def test_what_is_no_usage(said: object) -> None:
    assert usage.read(said) is None


def test_the_types_of_the_openai_package() -> None:
    chat = ChatCompletion.model_validate(
        {
            "id": "chatcmpl-1",
            "created": 1,
            "object": "chat.completion",
            "model": "gpt-x",
            "choices": [],
            "usage": OPENAI_CHAT,
        }
    )
    chunk = ChatCompletionChunk.model_validate(
        {**chat.model_dump(), "object": "chat.completion.chunk"}
    )
    alone = CompletionUsage.model_validate(OPENAI_CHAT)
    responses = ResponseUsage.model_validate(OPENAI_RESPONSES)
    for reply in (chat, chunk, alone, responses, [chunk]):
        found = usage.read(reply)
        assert found is not None
        assert found.tokens == WITHOUT_WRITING


def test_the_types_of_langchain() -> None:
    messages = pytest.importorskip("langchain_core.messages")
    message = messages.AIMessage("…", usage_metadata=LANGCHAIN, id="run-1")
    found = usage.read(message)
    assert found is not None
    assert (found.tokens, found.reply_id) == (WITH_WRITING, "run-1")


def test_a_call_is_told_when_it_begins_and_when_it_ends(daemon: FakeDaemon) -> None:
    with agentd.call("chat", provider="openai", model="gpt-x", deadline_s=600, attempt=2) as call:
        (start,) = daemon.wait("call")
        call.usage(REPLIES["openai chat"][0], cost_usd=0.02)
    end = daemon.wait("call", count=2)[1]
    about = {"op": "chat", "provider": "openai", "model": "gpt-x", "attempt": 2}
    name = start["call"]
    assert start == {
        "type": "call",
        "phase": "start",
        "call": name,
        "deadline_s": 600.0,
        **about,
    }
    assert end.pop("ms") >= 0
    assert end == {
        "type": "call",
        "phase": "end",
        "call": name,
        "ok": True,
        **about,
        "usage": WITHOUT_WRITING,
        "cost_usd": 0.02,
    }


def test_of_an_exception_the_name_of_its_class_is_told_and_nothing_more(
    daemon: FakeDaemon,
) -> None:
    secret = "sk-1234567890"  # noqa: S105 - what must not leave
    with pytest.raises(ValueError, match=secret), agentd.call("chat"):
        raise ValueError(secret)
    end = daemon.wait("call", count=2)[1]
    assert (end["ok"], end["error"]) == (False, "ValueError")
    assert secret not in str(daemon.lines)


def test_a_call_can_fail_without_an_exception(daemon: FakeDaemon) -> None:
    with agentd.call("chat") as call:
        call.failed("refused")
    end = daemon.wait("call", count=2)[1]
    assert (end["ok"], end["error"]) == (False, "refused")


def test_replies_of_one_call_add_up_and_none_counts_twice(daemon: FakeDaemon) -> None:
    first = {"id": "a", "model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": 1}}
    with agentd.call("agent") as call:
        call.usage(first)
        call.usage(first)
        call.usage({**first, "id": "b"})
        call.usage(input_tokens=5, output_tokens=5)
    end = daemon.wait("call", count=2)[1]
    assert end["usage"] == {"input_tokens": 25, "output_tokens": 7}
    assert end["model"] == "m"


def test_the_parts_of_a_stream_are_totals_so_far(daemon: FakeDaemon) -> None:
    with agentd.call("chat") as call:
        call.usage(REPLIES["anthropic message_start"][0])
        call.usage({"type": "message_delta", "usage": {"output_tokens": 200}})
        call.usage({"type": "message_delta", "usage": {"output_tokens": 300}})
    end = daemon.wait("call", count=2)[1]
    assert end["usage"] == {**ANTHROPIC_WIRE, "output_tokens": 300}


def test_any_number_of_replies_takes_bounded_memory(daemon: FakeDaemon) -> None:
    with agentd.call("agent") as call:
        for number in range(1000):
            call.usage({"id": str(number), "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
        assert len(call._readings) <= 64
    end = daemon.wait("call", count=2)[1]
    assert end["usage"] == {"input_tokens": 1000, "output_tokens": 2000}


def test_a_heartbeat_understands_usage_too(daemon: FakeDaemon) -> None:
    agentd.heartbeat(usage=REPLIES["anthropic message"][0])
    (line,) = daemon.wait()
    assert (line["usage"], line["model"]) == (ANTHROPIC_WIRE, "claude-x")


def test_usage_that_is_none_is_counted_and_does_no_harm(daemon: FakeDaemon) -> None:
    class Broken:
        @property
        def usage(self) -> object:
            raise RuntimeError

    with agentd.call("chat") as call:
        call.usage(Broken())
        call.usage("900 tokens")
    assert "usage" not in daemon.wait("call", count=2)[1]
    assert link.LINK.ignored == 2
