"""Adapters: what a framework does by itself arrives as calls and steps."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool

from agentd.sdk import link
from agentd.sdk.adapters import langchain
from tests.sdk.daemons import FakeDaemon

USAGE = {"input_tokens": 20, "output_tokens": 4, "total_tokens": 24}


@tool
def look_up(order: str) -> str:
    """Look an order up."""
    if order == "none":
        raise LookupError(order)
    return f"order {order} is on its way"


def test_a_model_call_is_an_open_call_with_its_usage(daemon: FakeDaemon) -> None:
    reply = AIMessage("hello", usage_metadata=USAGE, response_metadata={"model_name": "gpt-x"})
    model = GenericFakeChatModel(messages=iter([reply]), callbacks=[langchain.callbacks(600)])
    model.invoke("hi")
    start, end = daemon.wait("call", 2)
    assert (start["phase"], start["op"], start["deadline_s"]) == ("start", "chat", 600.0)
    assert (end["call"], end["ok"]) == (start["call"], True)
    assert end["usage"] == {"input_tokens": 20, "output_tokens": 4}
    assert end["model"] == "gpt-x"
    assert link.LINK.ignored == 0


async def test_it_works_in_asyncio(daemon: FakeDaemon) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("a", usage_metadata=USAGE)]))
    await model.ainvoke("hi", config={"callbacks": [langchain.callbacks()]})
    assert daemon.wait("call", 2)[1]["usage"] == {"input_tokens": 20, "output_tokens": 4}


def test_a_model_that_fails_is_told_by_the_name_of_the_error(daemon: FakeDaemon) -> None:
    model = GenericFakeChatModel(messages=iter([]))
    with pytest.raises((StopIteration, RuntimeError)):
        model.invoke("hi", config={"callbacks": [langchain.callbacks()]})
    end = daemon.wait("call", 2)[1]
    assert end["ok"] is False
    assert end["error"] in {"StopIteration", "RuntimeError"}


def test_a_tool_is_a_step_and_the_same_one_has_the_same_fingerprints(daemon: FakeDaemon) -> None:
    handler = langchain.callbacks()
    for number in range(2):
        asked = {"name": "look_up", "args": {"order": "7"}, "id": f"call-{number}"}
        look_up.invoke({**asked, "type": "tool_call"}, config={"callbacks": [handler]})
    first, second = daemon.wait("step", 2)
    assert (first["tool"], first["ok"], first["out_len"]) == (
        "look_up",
        True,
        len("order 7 is on its way"),
    )
    for name in ("args_fp", "args_nfp", "out_fp", "out_nfp", "lines"):
        assert first[name] == second[name]


def test_a_tool_that_fails_is_a_failed_step(daemon: FakeDaemon) -> None:
    handler = langchain.callbacks()
    with pytest.raises(LookupError):
        look_up.invoke({"order": "none"}, config={"callbacks": [handler]})
    assert daemon.wait("step")[0]["error"] == "LookupError"
    run = uuid4()
    handler.on_tool_start({"name": "look_up"}, "7", run_id=run)
    handler.on_tool_end(ToolMessage("sorry", tool_call_id="1", status="error"), run_id=run)
    assert daemon.wait("step", 2)[1]["error"] == "hidden:error"


def test_runs_that_never_end_are_bounded(daemon: FakeDaemon) -> None:
    handler = langchain.callbacks()
    for _ in range(3000):
        handler.on_tool_start(None, "x", run_id=uuid4())
    handler.on_tool_end("x", run_id=uuid4())
    handler.on_llm_end("x", run_id=uuid4())
    assert len(handler._steps) == langchain.OPEN_MAX
    assert daemon.lines == []


def test_it_is_a_handler_by_its_methods_where_langchain_is_absent(path: Path) -> None:
    code = (
        "from agentd.sdk.adapters import langchain\n"
        "handler = langchain.callbacks()\n"
        "handler.on_tool_start({'name': 't'}, 'x', run_id=1); handler.on_tool_end('y', run_id=1)\n"
        "print(type(handler).__mro__[1])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.')\n{code}"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "AGENTD_SOCKET": str(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "<class 'object'>\n"
