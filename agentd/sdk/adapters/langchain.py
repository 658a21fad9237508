"""LangChain and LangGraph: every model call an open call, every tool run a step.

    from agentd.sdk.adapters import langchain

    graph.invoke(question, config={"callbacks": [langchain.callbacks()]})

Heartbeats stay the agent's own to send, from its work loop: callbacks may run in any thread.
"""

from __future__ import annotations

import sys
from importlib import import_module

from agentd.sdk import link
from agentd.sdk.calls import call
from agentd.sdk.steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TypeVar
    from uuid import UUID

    T = TypeVar("T")

OPEN_MAX: Final = 1024
"""Runs that never end are forgotten beyond so many."""


class Callbacks:
    """What LangChain calls when a model or a tool begins and ends; runs are told apart by id."""

    # What LangChain asks of any handler. Inline: an order of lines that is the order of work.
    run_inline = True
    raise_error = False
    ignore_llm = ignore_chat_model = False
    ignore_agent = False
    ignore_chain = ignore_retriever = ignore_retry = ignore_custom_event = True

    def __init__(self, deadline_s: float | None = None) -> None:
        """`deadline_s`: how long one model call may take at most."""
        self._deadline_s = deadline_s
        self._calls: dict[UUID, call] = {}
        self._steps: dict[UUID, step] = {}

    def on_chat_model_start(
        self,
        *_given: object,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **_others: object,
    ) -> None:
        """A chat model is called."""
        self._open_call("chat", run_id, metadata)

    def on_llm_start(
        self,
        *_given: object,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **_others: object,
    ) -> None:
        """A plain model is called."""
        self._open_call("text_completion", run_id, metadata)

    def on_llm_end(self, response: object, *, run_id: UUID, **_others: object) -> None:
        """A model has answered; its usage is in the result."""
        opened = self._calls.pop(run_id, None)
        if opened is not None:
            opened.usage(response)
            opened.__exit__(None, None, None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_others: object) -> None:
        """A model call has failed."""
        opened = self._calls.pop(run_id, None)
        if opened is not None:
            opened.__exit__(type(error), error, None)

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        inputs: dict[str, Any] | None = None,
        **_others: object,
    ) -> None:
        """A tool runs."""
        name = (serialized or {}).get("name")
        begun = step(name if isinstance(name, str) else "tool", args=inputs or input_str)
        _remember(self._steps, run_id, begun)
        begun.__enter__()

    def on_tool_end(self, output: object, *, run_id: UUID, **_others: object) -> None:
        """A tool has run; a message of it may tell of a failure."""
        begun = self._steps.pop(run_id, None)
        if begun is not None:
            begun.output(_content(output))
            if getattr(output, "status", None) == "error":
                begun.failed("hidden:error")
            begun.__exit__(None, None, None)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_others: object) -> None:
        """A tool has raised."""
        begun = self._steps.pop(run_id, None)
        if begun is not None:
            begun.__exit__(type(error), error, None)

    def _open_call(self, op: str, run_id: UUID, metadata: dict[str, Any] | None) -> None:
        known = metadata or {}
        opened = call(
            op,
            provider=known.get("ls_provider"),
            model=known.get("ls_model_name"),
            deadline_s=self._deadline_s,
        )
        _remember(self._calls, run_id, opened)
        opened.__enter__()


def callbacks(deadline_s: float | None = None) -> Callbacks:
    """Return a handler for `callbacks=[…]`; of LangChain's own kind where that is installed."""
    kind: type[Callbacks] = Callbacks
    try:
        base = import_module("langchain_core.callbacks").BaseCallbackHandler
        kind = type("AgentdCallbacks", (Callbacks, base), {})
    except Exception as error:  # noqa: BLE001 - not installed, or of another shape: by its methods
        link.LINK.trouble(f"langchain: {type(error).__name__}")
    return kind(deadline_s)


def _content(output: object) -> object:
    """Return what a tool's message holds: its other fields change with every call."""
    messages = sys.modules.get("langchain_core.messages")
    kind = getattr(messages, "ToolMessage", None)
    return output.content if kind is not None and isinstance(output, kind) else output


def _remember(runs: dict[UUID, T], run_id: UUID, opened: T) -> None:
    while len(runs) >= OPEN_MAX:
        runs.pop(next(iter(runs)), None)
    runs[run_id] = opened
