"""Bring the running fleet in line with the files, or refuse the whole of it and say why.

Half a config is no config: with any error in any file nothing changes. A reload that somebody
asked for removes the agents that are gone from the files; the watch never does.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from agentd.config.diff import Plan, keeping_agents, plan_of
from agentd.config.loaded import Loaded
from agentd.core.events import Configured, Event, Fate
from agentd.core.records import Record
from agentd.daemon.log import log
from agentd.daemon.offload import Offload

# So many findings stand in a message; the document has them all.
TOLD_MAX: Final = 20


class InvalidConfig(Exception):  # noqa: N818 - named after the code that the user sees
    """The files can't be applied; nothing was changed. `document` is the reload document."""

    def __init__(self, message: str, document: Mapping[str, object]) -> None:
        super().__init__(message)
        self.document = document


class Superior(Protocol):
    """Whoever started us and wants to know when we are busy with ourselves."""

    def reloading(self) -> bool: ...

    def ready(self) -> bool: ...


@dataclass(slots=True)
class Reloader:
    """One reload at a time; `loaded` is what the daemon runs by."""

    loaded: Loaded
    read: Callable[[], Loaded]
    """Reads all files; runs in a thread."""
    offload: Offload
    post: Callable[[Event], None]
    note: Callable[[Record], None]
    apply: Callable[[Loaded, Plan], Mapping[str, Fate]]
    """Takes over what is not the core's: rights, limits, the log's level. Returns the fates of
    agents that were recorded, and left out until now because their file was wrong.
    """
    manager: Superior
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def reload(
        self, *, who: str, dry_run: bool = False, remove: bool = True
    ) -> dict[str, object]:
        """Read the files and apply what differs; return the reload document.

        Raises `InvalidConfig` where a file is wrong, and what `offload` raises.
        """
        async with self._turn:
            if not dry_run:
                self.manager.reloading()
            try:
                return await self._reload(who, dry_run=dry_run, remove=remove)
            finally:
                if not dry_run:
                    self.manager.ready()

    async def check(self) -> None:
        """Raise `InvalidConfig` where a daemon could not start on the files as they are now."""
        found = await self.offload.run(self.read)
        if not found.is_usable:
            raise InvalidConfig("\n".join(error.text("") for error in found.errors[:TOLD_MAX]), {})

    async def _reload(self, who: str, *, dry_run: bool, remove: bool) -> dict[str, object]:
        found = await self.offload.run(self.read)
        if found.errors:
            raise self._refused(found, who, dry_run=dry_run)
        if not remove:
            found = keeping_agents(self.loaded, found)
        plan = plan_of(self.loaded, found)
        document = plan.document(dry_run=dry_run)
        if dry_run or plan.is_empty:
            if not dry_run:
                # Lines may have moved, and `show` names them; a group may exist by now, a
                # token file have another token.
                self.loaded = found
                self.apply(found, plan)
            return document
        self.loaded = found
        fates = self.apply(found, plan)
        self.post(
            Configured(
                found.config,
                restart=frozenset(change.agent for change in plan.restarted),
                applied=frozenset(change.agent for change in plan.applied),
                remove=remove,
                fates=fates,
            )
        )
        for finding in [*found.warnings, *found.notices]:
            log.warning("config.finding", message=finding.text("").strip())
        self.note(_applied(plan, who))
        return document

    def _refused(self, found: Loaded, who: str, *, dry_run: bool) -> InvalidConfig:
        texts = [error.text("") for error in found.errors[:TOLD_MAX]]
        if len(found.errors) > TOLD_MAX:
            texts.append(f"and {len(found.errors) - TOLD_MAX} more")
        if not dry_run:
            told = f"the config was not applied (asked by {who}): {texts[0]}"
            data: dict[str, object] = {"errors": [e.document() for e in found.errors[:TOLD_MAX]]}
            self.note(Record("config.rejected", "warning", told, data=data))
        document = Plan(unchanged=tuple(sorted(self.loaded.config.agents))).document(
            dry_run=dry_run, errors=found.errors
        )
        return InvalidConfig("\n".join(texts), document)


def _applied(plan: Plan, who: str) -> Record:
    parts = [
        f"{word} {len(names)}"
        for word, names in (
            ("added", plan.added),
            ("removed", plan.removed),
            ("restarted", plan.restarted),
            ("applied live", plan.applied),
            ("settings", plan.settings),
        )
        if names
    ]
    told = f"config applied (asked by {who}): {', '.join(parts)}"
    if plan.fixed:
        told += f"; {', '.join(plan.fixed)} only from the next start of agentd on"
    return Record("config.applied", "info", told, data=plan.document(dry_run=False))
