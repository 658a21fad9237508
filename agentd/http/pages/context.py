"""What every page has to know beside its documents: who looks, from where, at which hosts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Document = dict[str, Any]
"""A document of the outside interface, as its JSON says; every field may be missing."""


@dataclass(frozen=True, slots=True)
class HostView:
    """One host of the fleet and what is known of it.

    `seen` is when it was last heard of, ISO 8601; `status` its document of `status`, None while
    there is none; `error` says why not.
    """

    name: str
    state: Literal["up", "lost"]
    seen: str | None = None
    status: Document | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """Who looks at a page.

    `csrf` is the value that a state-changing request from this page must repeat in its
    `X-Agentd-CSRF` header; empty if there is no cookie to protect. `host` is the host the page
    is about: empty, or the name of another one. `hosts` is empty where there is no fleet.
    """

    role: Literal["viewer", "operator"] = "viewer"
    csrf: str = ""
    host: str = ""
    hosts: Sequence[HostView] = ()

    @property
    def operates(self) -> bool:
        """Whether this person may change something: only then are there buttons."""
        return self.role == "operator"
