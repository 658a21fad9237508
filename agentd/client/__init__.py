"""agentd.client: the daemon's commands for operators' programs, over its Unix socket.

    from agentd.client import Client

    with Client() as client:
        client.kill("researcher", reason="cost spike")
        for event in client.events(follow=True):
            print(event["event"], event["message"])

Needs the standard library only. Every command is one method, which returns the document
that CONTRACT describes for it, as plain dicts and lists; fields this version doesn't know
are handed on. What fails is an `AgentdError`, `NotReachable` or `TimedOut`. Durations are
seconds, moments integer milliseconds since 1970. A client belongs to one thread.
"""

from collections.abc import Generator, Iterable, Mapping
from math import inf
from typing import Final, Self

from agentd.client.channel import socket_path
from agentd.client.cursors import EventCursor, LogCursor
from agentd.client.errors import AgentdError, NotReachable, TimedOut
from agentd.client.link import Document, Link, OnLost

__all__ = ["AgentdError", "Client", "Document", "NotReachable", "TimedOut", "socket_path"]

Select = str | Iterable[str]

# The installed version is asked first whether it could start, which the daemon gives two minutes.
REEXEC_S: Final = 130.0


class Client:
    """Commands to one daemon, over one connection that is opened when first needed.

    `timeout` bounds one command, in seconds. A command whose connection is lost is sent
    again with the same request id, so that the daemon never carries it out twice.
    """

    def __init__(self, socket: str | None = None, timeout: float = 10.0) -> None:
        self.socket = socket or socket_path()
        self.timeout = timeout
        self._link = Link(self.socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._link.close()

    def bound(self, until: float) -> None:
        """Let nothing take longer than until this moment of `time.monotonic()`."""
        self._link.until = until

    def ask(
        self, cmd: str, args: Document | None = None, *, timeout_s: float | None = None
    ) -> Document:
        """Send one command of CONTRACT 5.2 and return its result."""
        request = {"cmd": cmd, "args": args or {}}
        return self._link.carry_out(request, self.timeout if timeout_s is None else timeout_s)

    def ping(self) -> Document:
        return self.ask("ping")

    def version(self) -> Document:
        return self.ask("version")

    def status(self, select: Select = (), *, internal: bool = False) -> Document:
        """Return the document of CONTRACT 6.1; `internal`: the internal agents too."""
        return self.ask("status", {"select": _words(select), "all": internal})

    def counters(self, select: Select = ()) -> Document:
        """Return the status document, with what only rises as `counters` of each agent."""
        return self.ask("status", {"select": _words(select), "counters": True})

    def list_agents(self) -> list[str]:
        """Return the names of all agents."""
        return [agent["name"] for agent in self.status()["agents"]]

    def show(self, select: Select = ()) -> Document:
        """Return the effective configuration: `{"agents":{NAME:{KEY:{"value","origin"}}}}`."""
        return self.ask("show", {"select": _words(select)})

    def breakers(self) -> Document:
        """Return what is known of shared dependencies: `{"breakers":[{"name","state",…}]}`."""
        return self.ask("breakers")

    def alerts(self) -> Document:
        """Return how alerts fare: `{"sinks":[…],"queue":[…]}`."""
        return self.ask("alerts")

    def test_alert(self, sink: str, timeout_s: float) -> Document:
        """Send a message to a sink now: `{"sink","type","sent":bool,"error"}`."""
        return self.ask("alerts", {"test": sink}, timeout_s=timeout_s)

    def daemon(self, action: str | None = None) -> Document:
        """Return the daemon's own health, `{"daemon":{…},"counters":{…}}`.

        The action "reexec" makes it replace itself by the installed version, if that could
        start: a `conflict` otherwise.
        """
        if action is None:
            return self.ask("daemon")
        return self.ask("daemon", {"action": action}, timeout_s=REEXEC_S)

    def wait(
        self, select: Select, state: str = "ready", timeout_s: float | None = None
    ) -> Document:
        """Wait until all are `ready`, `healthy`, `stopped` or `paused`; `timeout_s` None: a minute.

        In time or `TimedOut`; what cannot come true by itself is a `conflict`.

        Returns `{"agents":[{"name","state","health","met":bool,"why"}]}`.
        """
        args = {"select": _words(select), "for": state, "timeout_s": timeout_s}
        return self.ask("wait", args, timeout_s=inf if timeout_s is None else timeout_s + 1.0)

    # The writes. Each is answered once the operator's word is durable, with
    # {"agents":[{"name","state","intent","message"}]}; `wait` tells when it has come true.

    def start(self, select: Select, reason: str = "", *, fresh: bool = False) -> Document:
        """Start; `fresh` begins a new execution."""
        return self._write("start", select, reason, fresh=fresh)

    def stop(self, select: Select, reason: str = "") -> Document:
        return self._write("stop", select, reason)

    def restart(self, select: Select, reason: str = "") -> Document:
        return self._write("restart", select, reason)

    def kill(self, select: Select, reason: str = "") -> Document:
        """Kill the whole tree at once; only `resume` brings it back."""
        return self._write("kill", select, reason)

    def pause(self, select: Select, reason: str = "") -> Document:
        return self._write("pause", select, reason)

    def resume(self, select: Select, reason: str = "") -> Document:
        return self._write("resume", select, reason)

    def hold(self, select: Select, reason: str = "") -> Document:
        return self._write("hold", select, reason)

    def unhold(self, select: Select, reason: str = "") -> Document:
        return self._write("unhold", select, reason)

    def reset(self, select: Select, reason: str = "") -> Document:
        """Forget failures and cooldown."""
        return self._write("reset", select, reason)

    def history(
        self, select: Select = (), since_ms: int | None = None, step_s: int | None = None
    ) -> Document:
        """Return when agents were up and down: `{"agents":[{"name","intervals":[…]}]}`.

        With `step_s` also each agent's `series`, a point every so many seconds or more.
        """
        more = {} if step_s is None else {"series": True, "step_s": step_s}
        return self.ask("history", {"select": _words(select), "since_ms": since_ms, **more})

    def report(self, date: str | None = None) -> Document:
        """Return the daily report of a date, `today`, or (None) the last whole day."""
        return self.ask("report", {"date": date} if date else {})

    def ack(self, number: int, reason: str = "") -> Document:
        """Say who has an incident in hand: `{"id","open","acknowledged_by","message"}`."""
        return self.ask("ack", {"id": number, "reason": reason})

    def signal(self, select: Select, signal: str, reason: str = "") -> Document:
        """Send a plain signal by name, such as "SIGHUP"."""
        return self._write("signal", select, reason, signal=signal)

    def reload(self, *, dry_run: bool = False) -> Document:
        """Apply the configuration files; returns the plan of CONTRACT 6.1."""
        return self.ask("reload", {"dry_run": dry_run})

    def shutdown(self, reason: str = "") -> Document:
        """Stop all agents in reverse order of dependency, then the daemon."""
        return self.ask("shutdown", {"reason": reason})

    def gone(self, timeout_s: float) -> bool:
        """Tell whether the daemon ends the open connection within so many seconds."""
        return self._link.gone(timeout_s)

    def events_page(
        self,
        select: Select = (),
        *,
        types: Iterable[str] = (),
        after: int | None = None,
        since_ms: int | None = None,
        limit: int | None = None,
    ) -> Document:
        """Return `{"events":[…CONTRACT 6.2…],"last_id":N}` in order of id.

        With `after` or `since_ms` the first `limit` events past it, else the newest `limit`.
        A follower asks with `after` alone; all that lies or comes past it is streamed as
        `{"id","event":{…}}` lines.
        """
        return self.ask("events", _page(select, types, after, since_ms, limit))

    def events(
        self,
        select: Select = (),
        *,
        types: Iterable[str] = (),
        after: int | None = None,
        since_ms: int | None = None,
        limit: int | None = None,
        follow: bool = False,
        on_lost: OnLost | None = None,
    ) -> Generator[Document]:
        """Yield events in order of id, all of them without a `limit`; with `follow`, endlessly.

        A follower outlives a restart of the daemon: it asks again for all that comes after
        the last event it saw, so that none is missed and none seen twice. `on_lost` hears
        of each such gap; one of more than a minute is a `NotReachable`.
        """
        cursor = EventCursor(_page(select, types, after, since_ms, limit))
        yield from cursor.history(lambda page: self.ask("events", page))
        if not follow:
            return
        for line in self._link.follow(cursor.request, self.timeout, on_lost):
            yield from cursor.take(line)

    def incidents(
        self, select: Select = (), *, open_only: bool = False, limit: int | None = None
    ) -> Document:
        """Return the newest incidents, the newest first: `{"incidents":[…CONTRACT 6.1…]}`."""
        return self.ask("incidents", {"select": _words(select), "open": open_only, "limit": limit})

    def incident(self, number: int) -> Document:
        """Return all about one incident, with `timeline`, `evidence` and `actions`."""
        return self.ask("incidents", {"id": number})

    def trace(self, select: Select = (), *, since_ms: int | None = None) -> Generator[Document]:
        """Yield what was recorded, from `since_ms` or the beginning until now, as a trace.

        Its lines are what `agentd simulate` reads (CONTRACT 6.3); none: nothing was recorded.
        """
        args = {"select": _words(select), "since_ms": since_ms, "trace": True}
        for line in self._link.stream({"cmd": "events", "args": args}, self.timeout):
            if "trace" in line:
                yield line["trace"]

    def checkpoints(
        self, select: Select = (), *, state: bool = False, seq: int | None = None
    ) -> Document:
        """Return what agents have kept and have in flight.

        With `state`, of one agent, the state of its last checkpoint or of number `seq`.
        """
        return self.ask("checkpoints", {"select": _words(select), "state": state, "seq": seq})

    def logs(
        self,
        select: Select,
        *,
        lines: int | None = 100,
        since_ms: int | None = None,
        grep: str | None = None,
        raw: bool = False,
    ) -> Document:
        """Return `{"logs":[{"agent","lines":[…],"offset":N}]}`: the last `lines` of each.

        `grep` is a regular expression; `raw` leaves control characters as they were written.
        """
        return self.ask("logs", _log_page(select, lines, since_ms, grep, raw=raw))

    def follow_logs(
        self,
        select: Select,
        *,
        lines: int | None = 10,
        since_ms: int | None = None,
        grep: str | None = None,
        raw: bool = False,
        on_lost: OnLost | None = None,
    ) -> Generator[tuple[str, str]]:
        """Yield (agent, line) without end; the daemon sends `{"id","log":{"agent","line"}}`.

        Over a restart of the daemon it goes on where it was if those lines carry the
        `"offset"` behind them (asked for as `"from": {AGENT: offset}`), else with new lines.
        """
        cursor = LogCursor(_log_page(select, lines, since_ms, grep, raw=raw))
        for line in self._link.follow(cursor.request, self.timeout, on_lost):
            yield from cursor.take(line)

    def heartbeat(self, fields: Mapping[str, object], token: str | None = None) -> Document:
        """Send one agent line (CONTRACT 5.1) and return once the daemon has taken it.

        Without a token the daemon tells who speaks by the process tree of the caller.
        """
        line: Document = {"type": "heartbeat", **fields}
        if token:
            line["token"] = token
        return self._link.carry_out(line, self.timeout)

    def _write(self, cmd: str, select: Select, reason: str, **options: object) -> Document:
        return self.ask(cmd, {"select": _words(select), "reason": reason, **options})


def _words(select: Select) -> list[str]:
    return [select] if isinstance(select, str) else list(select)


def _page(
    select: Select,
    types: Iterable[str],
    after: int | None,
    since_ms: int | None,
    limit: int | None,
) -> Document:
    return {
        "select": _words(select),
        "types": list(types),
        "after": after,
        "since_ms": since_ms,
        "limit": limit,
    }


def _log_page(
    select: Select, lines: int | None, since_ms: int | None, grep: str | None, *, raw: bool
) -> Document:
    return {
        "select": _words(select),
        "lines": lines,
        "since_ms": since_ms,
        "grep": grep,
        "raw": raw,
    }
