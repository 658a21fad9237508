"""What is asked and changes nothing: status, show, events, logs, the daemon's own health.

The documents are those of CONTRACT 6.1. What comes from a disk is read in a thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final

from agentd import __version__
from agentd.config.event_names import EVENT_NAMES
from agentd.config.masking import show
from agentd.config.suggest import Suggestions
from agentd.core.select import SelectError, select
from agentd.core.supervisor import Supervisor
from agentd.daemon.checkpoints import Checkpoints
from agentd.daemon.clock import Calendar
from agentd.daemon.facts import Facts
from agentd.daemon.followers import Event, Followers, Wanted
from agentd.daemon.followers import Stream as EventStream
from agentd.daemon.incidents import NOT_FOR_VIEWERS, Incidents
from agentd.daemon.logfollow import LogsWanted, follow_logs
from agentd.daemon.logkeeper import Logs
from agentd.daemon.masks import Masks
from agentd.daemon.offload import Offload
from agentd.daemon.reload import Reloader
from agentd.daemon.reports import NoSuchDay, Reports
from agentd.store.store import Store
from agentd.wire.commands import Command
from agentd.wire.counters import with_counters
from agentd.wire.dependencies import breakers_document
from agentd.wire.documents import TransitionsShown, status_document
from agentd.wire.fleet import fleet_document
from agentd.wire.replies import PONG

EVENTS_DEFAULT: Final = 50
EVENTS_MAX: Final = 2_000
INCIDENTS_DEFAULT: Final = 20
INCIDENTS_MAX: Final = 1_000
LINES_DEFAULT: Final = 100
LINES_MAX: Final = 10_000
EXAMPLE_EVENT: Final = "agent.exited, or agent.* for all about agents"
LOG_CHARS_MAX: Final = 16 << 20

Args = Mapping[str, Any]


class BadArgument(Exception):  # noqa: N818 - named after the code that the user sees
    """An argument is of the right type and still makes no sense; `hint` says what does."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class History:
    """The store's events, read in threads; as the followers want it."""

    def __init__(self, store: Store, offload: Offload) -> None:
        self._store = store
        self._offload = offload

    async def page(self, wanted: Wanted) -> Sequence[Event]:
        return await self._offload.run(
            partial(
                self._store.events,
                after=wanted.after,
                limit=EVENTS_DEFAULT if wanted.limit is None else wanted.limit,
                agents=wanted.agents,
                types=wanted.types,
                since_ms=wanted.since_ms,
            )
        )

    async def last_id(self) -> int:
        return await self._offload.run(self._store.last_event_id)


@dataclass(slots=True)
class Answers:
    """One method a document."""

    supervisor: Supervisor
    facts: Facts
    host: str
    history: History
    followers: Followers
    reloader: Reloader
    offload: Offload
    logs: Logs
    checkpoints: Checkpoints
    incidents: Incidents
    reports: Reports
    calendar: Calendar = field(default_factory=Calendar)
    masks: Masks = field(default_factory=Masks)
    """Applied to what agents and their judges have said."""
    transitions: TransitionsShown = field(default_factory=TransitionsShown)

    async def answer(self, command: Command, *, viewer: bool) -> Mapping[str, object]:
        """Return the document asked for.

        Raises `SelectError`, `BadArgument`, `TooBusy`, and what a disk raises.
        """
        at_once = self._at_once(command.cmd, command.args)
        if at_once is not None:
            return at_once
        return await self._from_disk(command.cmd, command.args, viewer=viewer)

    def _at_once(self, cmd: str, args: Args) -> Mapping[str, object] | None:
        """Return what is in memory; None: it lies on a disk."""
        match cmd:
            case "ping":
                return PONG
            case "version":
                return {"version": __version__}
            case "status":
                return self.status(args)
            case "daemon":
                return {"daemon": self.facts.block(), "counters": self.facts.count()}
            case "breakers":
                return self.breakers()
        return None

    async def _from_disk(self, cmd: str, args: Args, *, viewer: bool) -> Mapping[str, object]:
        match cmd:
            case "show":
                names = self._names(args)
                return await self.offload.run(partial(show, self.reloader.loaded, names))
            case "events":
                return await self.events(args, viewer=viewer)
            case "history":
                return await self.read_history(args)
            case "report":
                return await self.read_report(args)
            case "incidents":
                return await self.read_incidents(args, viewer=viewer)
            case "logs":
                return await self.read_logs(args)
            case "checkpoints":
                return await self.read_checkpoints(args)
            case other:
                raise AssertionError(other)

    def status(self, args: Args) -> Mapping[str, object]:
        """Return the status document; internal agents are shown when asked for."""
        chosen = args.get("select") or ("all",)
        names = select(self.supervisor.agents, chosen, internal=bool(args.get("all")))
        now_ms, wall_ms = self.calendar.now()
        document = status_document(
            self.supervisor.agents,
            names,
            now_ms=now_ms,
            wall_ms=wall_ms,
            daemon=self.facts.block(),
            host=self.host,
            open_incidents=self.supervisor.incidents.bound,
            hosts=self.supervisor.hosts,
            transitions=self.transitions,
        )
        document["fleet"] = fleet_document(self.supervisor)
        shown = self.masks.status(document)
        if not args.get("counters"):
            return shown
        return with_counters(shown, self.supervisor.agents, self.breakers())

    def breakers(self) -> dict[str, object]:
        """Return the breakers document; the last error is in an agent's own words."""
        return self.masks.document(
            breakers_document(self.supervisor.breakers, self.supervisor.hosts, *self.calendar.now())
        )

    async def events(self, args: Args, *, viewer: bool) -> Mapping[str, object]:
        """Return a page of events, and the id to go on from."""
        wanted = self._wanted(args)
        found = await self.history.page(wanted)
        if not found:
            await self._refuse_stranger(wanted)
        last_id = found[-1]["id"] if found else wanted.after
        if last_id is None:
            last_id = await self.history.last_id()
        shown = [without_log_text(event) for event in found] if viewer else list(found)
        return {"events": shown, "last_id": last_id}

    async def read_incidents(self, args: Args, *, viewer: bool) -> Mapping[str, object]:
        """Return the newest incidents, or all about one; `BadArgument`: there is none such."""
        number = args.get("id")
        if number is None:
            return await self._listed_incidents(args)
        document = await self.incidents.one(number, viewer=viewer)
        if document is None:
            newest = ", ".join(map(str, await self.incidents.newest()))
            hint = f"the newest: {newest} (agentctl incidents)" if newest else "there is none yet"
            raise BadArgument(f"no incident has the number {number}", hint)
        return document

    async def read_history(self, args: Args) -> Mapping[str, object]:
        """Return when agents were up and down; one that is gone keeps its history."""
        chosen = args.get("select") or ()
        if chosen and "all" not in chosen:
            names: Sequence[str] = self._event_agents(chosen)
        else:
            names = self._names({})
        try:
            step_s = args.get("step_s") or 0
            series_ms = int(step_s) * 1000 if args.get("series") else None
            document = await self.reports.history(names, _since_ms(args), series_ms)
        except NoSuchDay as error:
            raise BadArgument(str(error)) from None
        # One that is gone is known by what it left; `select` refuses what never was.
        unknown = set(names) - self.supervisor.agents.keys() - _with_history(document)
        select(self.supervisor.agents, sorted(unknown))
        return document

    async def read_report(self, args: Args) -> Mapping[str, object]:
        """Return the report of a day; the last whole one where none is named."""
        try:
            return await self.reports.report(args.get("date"))
        except NoSuchDay as error:
            raise BadArgument(str(error), "agentctl report --date yesterday") from None

    async def _listed_incidents(self, args: Args) -> Mapping[str, object]:
        chosen = args.get("select")
        names = self._event_agents(chosen) if chosen and "all" not in chosen else ()
        found = await self.incidents.listed(
            names,
            open_only=bool(args.get("open")),
            limit=_bounded(args.get("limit"), INCIDENTS_DEFAULT, INCIDENTS_MAX),
        )
        strange = next((name for name in names if name not in self.supervisor.agents), None)
        if strange is not None and not found["incidents"]:
            # "None" would be good news about an agent whose name was only mistyped.
            raise SelectError(strange, self.supervisor.agents)
        return found

    async def _refuse_stranger(self, wanted: Wanted) -> None:
        """Raise `SelectError` for an agent that isn't there and of which nothing is told."""
        for name in wanted.agents:
            if name not in self.supervisor.agents:
                left = await self.history.page(Wanted(agents=(name,), limit=1))
                if not left:
                    raise SelectError(name, self.supervisor.agents)

    async def read_logs(self, args: Args) -> Mapping[str, object]:
        """Return the last lines of each agent; `BadArgument` beyond LOG_CHARS_MAX in all."""
        wanted = self._logs_wanted(args)
        logs, chars = [], 0
        for name in wanted.agents:
            lines = await self.offload.run(partial(self._lines, name, wanted))
            chars += sum(map(len, lines))
            if chars > LOG_CHARS_MAX:
                raise BadArgument("that is too much at once; ask for fewer agents or lines")
            logs.append({"agent": name, "lines": lines})
        return {"logs": logs}

    async def read_checkpoints(self, args: Args) -> Mapping[str, object]:
        """Return what agents have kept and have in flight, or one state of one agent."""
        names = self._names(args)
        if not args.get("state"):
            return await self.checkpoints.document(names)
        if len(names) != 1:
            raise BadArgument(f"state: of one agent at a time; {len(names)} are meant")
        return await self.checkpoints.state(names[0], args.get("seq"))

    def _lines(self, agent: str, wanted: LogsWanted) -> list[str]:
        return self.logs.read(
            agent,
            lines=wanted.lines,
            since_ms=wanted.since_ms,
            grep=wanted.grep,
            raw=wanted.raw,
        )

    async def follow(self, cmd: str, args: Args, stream: EventStream) -> None:
        """Serve a follower of events or of logs."""
        if cmd == "events":
            await self.followers.follow(stream, self._wanted(args))
        else:
            await follow_logs(self.logs, self._logs_wanted(args), stream, self.offload)

    def _logs_wanted(self, args: Args) -> LogsWanted:
        since_ms = args.get("since_ms")
        lines = args.get("lines")
        if lines is None and since_ms is not None:
            lines = LINES_MAX
        return LogsWanted(
            agents=self._names(args),
            lines=_bounded(lines, LINES_DEFAULT, LINES_MAX),
            since_ms=since_ms,
            grep=args.get("grep") or None,
            raw=bool(args.get("raw")),
            offsets=args.get("from") or {},
        )

    def _names(self, args: Args) -> list[str]:
        return select(self.supervisor.agents, args.get("select") or ("all",))

    def _wanted(self, args: Args) -> Wanted:
        chosen = args.get("select")
        limit = args.get("limit")
        return Wanted(
            agents=self._event_agents(chosen) if chosen else (),
            types=_event_types(args.get("types") or ()),
            after=args.get("after"),
            since_ms=args.get("since_ms"),
            limit=None if limit is None else _bounded(limit, EVENTS_DEFAULT, EVENTS_MAX),
        )

    def _event_agents(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the agents meant; one that is gone keeps its history under its plain name."""
        gone = [word for word in words if word not in self.supervisor.agents and _is_plain(word)]
        here = [word for word in words if word not in gone]
        return (*select(self.supervisor.agents, here), *gone)


def _event_types(words: Sequence[str]) -> tuple[str, ...]:
    """Return names and globs of events; `BadArgument` for one that can never be met."""
    for word in words:
        if not any(fnmatchcase(name, word) for name in EVENT_NAMES):
            near = Suggestions().hint(word, EVENT_NAMES)
            raise BadArgument(f"no event is called {word!r}", near or f"such as {EXAMPLE_EVENT}")
    return tuple(words)


def _with_history(document: Mapping[str, Any]) -> set[str]:
    """Return the agents of whom a history document knows anything."""
    return {agent["name"] for agent in document["agents"] if agent["intervals"]}


def _since_ms(args: Args) -> int | None:
    """Return `since_ms`, or `since`: the same, or ISO 8601 (of UTC where it names no zone)."""
    since = args.get("since")
    if not isinstance(since, str):
        return args.get("since_ms") if since is None else since
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise BadArgument(
            f"since: {since[:40]!r} is no moment", "such as 2026-11-21T08:00:00Z"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _is_plain(word: str) -> bool:
    return not word.startswith("tag:") and word != "all" and not set(word) & set("*?[")


def without_log_text(event: Event) -> Event:
    """Return an event as viewers may see it."""
    data = event.get("data")
    if not isinstance(data, dict) or not any(key in data for key in NOT_FOR_VIEWERS):
        return event
    return {**event, "data": {key: val for key, val in data.items() if key not in NOT_FOR_VIEWERS}}


def _bounded(number: int | None, default: int, most: int) -> int:
    if number is None:
        return default
    if number < 0:
        raise BadArgument(f"{number} is less than nothing")
    return min(number, most)
