"""From what was recorded to a trace that `agentd simulate` reads (CONTRACT 6.3).

The trace begins at a moment with what was wanted of each agent then, and ends now. What
agentd itself did is left out: stops, restarts and pauses by policy are what a simulation
decides anew. Its own death and return are in it, and so is what operators said.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from agentd.config.encodable import utc_text
from agentd.core.lines import Line
from agentd.daemon import record_entries, record_segments
from agentd.daemon.record_segments import Span
from agentd.wire.said import as_said

# What a simulation makes of an operator's word for what is wanted from then on.
_WORDS: Final = {"stop": "stopped", "kill": "killed", "pause": "paused", "hold": "held"}
_UP_WORDS: Final = ("start", "restart", "resume", "unhold")

# Where an entry names its agent; one of a kind that came later may be shorter.
AGENT_AT: Final = 2

TraceLine = dict[str, object]


@dataclass(slots=True)
class Tracing:
    """Turns entries, in their order, into lines of a trace."""

    names: frozenset[str]
    since_ms: int
    """By the wall clock."""
    mask: Callable[[str], str]
    _begun: bool = False
    _seen: bool = False
    """Something was recorded before it begins, too."""
    _t_ms: int = 0
    _boot: bytes = b""
    _at_ms: int = 0
    """The moment of the last entry, BOOTTIME of that boot."""
    _wall_ms: int = 0
    _fleet: dict[str, str] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was recorded at all."""
        return not self._seen and not self._begun

    def take(self, span: Span, entries: Sequence[list[Any]]) -> Iterator[TraceLine]:
        """Take in one frame."""
        if self._fleet is None:
            told = next((entry[2] for entry in entries if entry[1] == "fleet"), None)
            self._fleet = dict(told) if isinstance(told, dict) else None
        for entry in entries:
            if entry[0] + span.wall_lead_ms < self.since_ms and not self._begun:
                self._before(entry)
                self._boot, self._at_ms = span.boot, entry[0]
                self._wall_ms = entry[0] + span.wall_lead_ms
                continue
            crashed_ms = self._t_ms
            if not self._begun:
                yield from self._begin(entry, span)
            else:
                self._pass_time(entry[0], span)
            yield from self._told(entry, crashed_ms)

    def end(self, wall_ms: int) -> Iterator[TraceLine]:
        """Return the end of the trace, which is now."""
        if self.is_empty:
            return
        if not self._begun:
            self._wall_ms = self.since_ms
            yield self._start(self.since_ms)
        t_ms = self._t_ms + max(0, wall_ms - self._wall_ms)
        yield {"t": _seconds(t_ms), "end": True}

    def _before(self, entry: Sequence[Any]) -> None:
        """Take in what happened before it begins: what was wanted of whom."""
        self._seen = True
        if entry[1] == "fleet":
            self._fleet = dict(entry[2])
        elif entry[1] == "cmd" and self._fleet is not None:
            word = "up" if entry[2] in _UP_WORDS else _WORDS.get(entry[2])
            if word is not None:
                self._fleet.update(dict.fromkeys(entry[3], word))

    def _begin(self, entry: Sequence[Any], span: Span) -> Iterator[TraceLine]:
        """Begin at the moment asked for, or with the first entry where that is later."""
        self._begun = True
        wall_ms = entry[0] + span.wall_lead_ms
        begins_ms = self.since_ms if self._seen else wall_ms
        self._boot, self._at_ms, self._wall_ms = span.boot, entry[0], wall_ms
        self._t_ms = wall_ms - begins_ms
        yield self._start(begins_ms)

    def _start(self, wall_ms: int) -> TraceLine:
        wanted = self._fleet or {}
        intents = {name: wanted.get(name, "stopped") for name in sorted(self.names)}
        return {"t": 0, "start": True, "at": utc_text(wall_ms), "intents": intents}

    def _pass_time(self, at_ms: int, span: Span) -> None:
        """Go on to that moment; over a reboot the wall clock alone knows how long it was."""
        wall_ms = at_ms + span.wall_lead_ms
        same = span.boot == self._boot
        self._t_ms += max(0, at_ms - self._at_ms if same else wall_ms - self._wall_ms)
        self._boot, self._at_ms, self._wall_ms = span.boot, at_ms, wall_ms

    def _told(self, entry: Sequence[Any], crashed_ms: int) -> Iterator[TraceLine]:
        match entry[1]:
            case "started":
                if self._t_ms:  # else the start of the trace is its start
                    yield from self._restarted(entry[2], crashed_ms)
            case "alive" | "ended":
                pass  # the next start tells of the end
            case "shutdown":
                yield self._line(cmd={"cmd": "shutdown", "args": {}})
            case "cmd":
                yield from self._command(entry)
            case "fleet":
                yield from self._came(entry[2])
            case "config":
                yield self._line(note="the configuration changed")
            case "dropped":
                yield self._line(note=f"{entry[2]} lines were not recorded")
            case kind if len(entry) > AGENT_AT and entry[AGENT_AT] in self.names:
                yield from self._of_agent(kind, entry[AGENT_AT], entry[AGENT_AT + 1 :])

    def _restarted(self, ends: dict[str, list[int | None]], crashed_ms: int) -> Iterator[TraceLine]:
        """Agentd died after the last that it recorded, and is back."""
        yield {"t": _seconds(crashed_ms), "daemon": "crash"}
        for name, (code, signal) in ends.items():
            if name in self.names:
                yield self._line(agent=name, exit=_how(code, signal))
        yield self._line(daemon="start")

    def _command(self, entry: Sequence[Any]) -> Iterator[TraceLine]:
        cmd, names, reason, options = entry[2:]
        meant = [name for name in names if name in self.names]
        if not meant:
            return
        if cmd == "signal":  # a simulated process would die of any
            told = f"signal {options.get('signal')} to {', '.join(meant)}"
            yield self._line(note=f"an operator sent {told}")
            return
        args: dict[str, object] = {"select": meant, **options}
        if reason:
            args["reason"] = self.mask(str(reason))
        yield self._line(cmd={"cmd": cmd, "args": args})

    def _came(self, fleet: dict[str, str]) -> Iterator[TraceLine]:
        """Start what is new, stop what is gone: a simulation has the agents of its config."""
        before, self._fleet = self._fleet, dict(fleet)
        if before is None:
            return
        for name in sorted(self.names):
            if name in fleet and name not in before and fleet[name] == "up":
                yield self._line(cmd={"cmd": "start", "args": {"select": [name]}})
            elif name in before and name not in fleet:
                yield self._line(cmd={"cmd": "stop", "args": {"select": [name]}})

    def _of_agent(self, kind: str, agent: str, told: Sequence[Any]) -> Iterator[TraceLine]:
        match kind:
            case record_entries.LINES:
                lines = (record_entries.line_of(each) for each in told[1])
                yield from (self._said(agent, line) for line in lines if line is not None)
            case "rss":
                seen = {"rss": told[1], "cpu_ms": told[2], "io_bytes": told[3]}
                yield self._line(agent=agent, **{k: v for k, v in seen.items() if v is not None})
            case "exit":
                yield self._line(agent=agent, exit=_how(*told))
            case "failed":
                yield self._line(note=f"{agent} could not be started: {self.mask(str(told[0]))}")
                yield self._line(agent=agent, exit={})

    def _said(self, agent: str, line: Line) -> TraceLine:
        said = as_said(line)
        if "notify" in said:
            return self._line(agent=agent, notify=self._masked(said["notify"]))
        return self._line(agent=agent, line=self._masked(said))

    def _masked(self, value: object) -> object:
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {name: self._masked(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._masked(each) for each in value]
        return value

    def _line(self, **what: object) -> TraceLine:
        return {"t": _seconds(self._t_ms), **what}


def trace(
    state_dir: Path, names: Sequence[str], since_ms: int, wall_ms: int, mask: Callable[[str], str]
) -> Iterator[TraceLine]:
    """Yield the lines of a trace; raises OSError and `SegmentsRefused`."""
    tracing = Tracing(frozenset(names), since_ms, mask)
    for span, payload in record_segments.frames(state_dir, since_ms):
        if span.wall_begins_ms > wall_ms:
            break  # recorded after it was asked
        try:
            entries = record_entries.decoded(payload)
        except msgspec.DecodeError:
            continue
        yield from tracing.take(span, entries)
    yield from tracing.end(wall_ms)


def _how(code: int | None, signal: int | None, *oom: bool) -> dict[str, object]:
    told: dict[str, object] = {}
    if code is not None:
        told["code"] = code
    elif signal is not None:
        told["signal"] = signal
    if any(oom):
        told["oom"] = True
    return told


def _seconds(t_ms: int) -> float | int:
    """Whole seconds as whole numbers."""
    return t_ms // 1000 if t_ms % 1000 == 0 else t_ms / 1000
