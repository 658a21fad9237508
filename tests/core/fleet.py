"""A fleet for tests: the pure core, and a world that does at once what it is asked."""

from collections.abc import Iterable
from itertools import count

from agentd.config.agent import AgentConfig
from agentd.config.schema import Config
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.agent import Agent
from agentd.core.lines import Heartbeat, Line
from agentd.core.records import Record
from agentd.core.states import State
from agentd.core.supervisor import Supervisor


class Fleet:
    """Drives the core in virtual time; spawns succeed, signals wait for the test to act."""

    def __init__(self, agents: dict[str, AgentConfig], jitter: float = 0.0) -> None:
        ids = count(1)
        self.core = Supervisor(Config(agents=agents), lambda: jitter, lambda: f"id{next(ids)}")
        self.now_ms = 0
        self.effects: list[tuple[int, do.Effect]] = []
        self.spawns: list[tuple[int, str]] = []
        self.can_spawn = True
        self.sees_at_once = True
        """Whoever is looked at is seen at once, and nothing is found."""

    def state_of(self, name: str) -> State:
        return self[name].state

    def __getitem__(self, name: str) -> Agent:
        return self.core.agents[name]

    def tell(self, event: ev.Event, at_ms: int | None = None) -> list[do.Effect]:
        """Let time pass up to `at_ms`, then tell the core; returns all effects of the event."""
        if at_ms is not None:
            self.pass_time(at_ms)
        return self._step(event)

    def pass_time(self, until_ms: int) -> None:
        """Tick at each deadline up to and including `until_ms`."""
        assert until_ms >= self.now_ms, "time does not go back"
        while (due_ms := self.core.next_deadline_ms()) is not None and due_ms <= until_ms:
            self.now_ms = max(self.now_ms, due_ms)
            self._step(ev.Ticked())
        self.now_ms = until_ms

    def _step(self, event: ev.Event) -> list[do.Effect]:
        made = self.core.step(event, self.now_ms)
        self.effects += [(self.now_ms, effect) for effect in made]
        for effect in made:
            if isinstance(effect, do.Spawn):
                self.spawns.append((self.now_ms, effect.agent))
                if self.can_spawn:
                    pid = 1000 + len(self.spawns)
                    made = made + self._step(ev.Spawned(effect.agent, effect.incarnation, pid))
            elif isinstance(effect, do.Diagnose) and self.sees_at_once:
                made = made + self._step(seen(effect))
        return made

    def start(self, fates: dict[str, ev.Fate] | None = None) -> "Fleet":
        self.tell(ev.Started(fates or {}))
        return self

    def beat(self, name: str, at_ms: int | None = None, *lines: Line) -> list[do.Effect]:
        heard = lines or (Heartbeat(),)
        if at_ms is not None:
            self.pass_time(at_ms)
        incarnation = 0 if self[name].config.external else self[name].incarnation
        return self.tell(ev.LinesReceived(name, incarnation, heard))

    def end(
        self,
        name: str,
        at_ms: int | None = None,
        *,
        code: int | None = None,
        signal: int | None = None,
        evidence: ev.ExitEvidence | None = None,
    ) -> list[do.Effect]:
        """The leader ends, and with it its tree."""
        if at_ms is not None:
            self.pass_time(at_ms)
        incarnation = self[name].incarnation
        seen = evidence or ev.ExitEvidence()
        made = self.tell(ev.Exited(name, incarnation, code, signal, seen))
        return made + self.tell(ev.TreeEmpty(name, incarnation))

    def ask(self, cmd: str, *select: str, at_ms: int | None = None, **options: object) -> do.Reply:
        """Let an operator ask; returns the reply, which the core gives at once."""
        asked = ev.Requested("r1", cmd, "ada", select or ("all",), "", options)
        made = self.tell(asked, at_ms)
        return next(effect for effect in made if isinstance(effect, do.Reply))

    def told(self, *events: str) -> list[Record]:
        """Journal records so far, those of the named events."""
        records = [e.record for _, e in self.effects if isinstance(e, do.Journal)]
        return [record for record in records if not events or record.event in events]

    def starts_of(self, name: str) -> list[int]:
        return [at_ms for at_ms, who in self.spawns if who == name]


def seen(asked: do.Diagnose, line: str = "", **evidence: object) -> ev.Diagnosed:
    """The answer to a look."""
    kept = {**asked.context, **evidence}
    return ev.Diagnosed(
        asked.agent, asked.incarnation, asked.kind, asked.asked_at_ms, line=line, evidence=kept
    )


def kinds(effects: Iterable[do.Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def config(**keys: object) -> AgentConfig:
    return AgentConfig(command=["x"], **keys)  # type: ignore[arg-type]


def running(**keys: object) -> Fleet:
    fleet = Fleet({"a": config(**keys)}).start()
    fleet.beat("a", 1_000)
    assert fleet.state_of("a") is State.RUNNING
    return fleet
