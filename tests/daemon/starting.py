"""Whoever begins starts, with nothing around it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agentd.daemon.processes import Prepared
from agentd.daemon.registry import Registry
from agentd.daemon.starts import Starts
from agentd.store.rows import Batch, Outcome


def starts_with(
    released: list[Prepared], submit: Callable[[Batch, Callable[[Outcome], None]], None]
) -> Starts:
    """Return one that gives rows to `submit`; `released` has those that were let go."""
    nothing: Any = SimpleNamespace(
        open=str, keep_fd=lambda *_: True, release=released.append, serve=lambda _: None
    )
    return Starts(
        aio=nothing,
        post=released.append,
        submit=submit,
        processes=nothing,
        registry=Registry(),
        ears=nothing,
        output=nothing,
        errands=nothing,
        judges=nothing,
        looks=nothing,
        config_of=lambda _: None,
        manager=nothing,
        channels=nothing,
        socket=Path("/s"),
        state_dir=Path("/d"),
    )
