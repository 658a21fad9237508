"""What a daemon finds at its start: recorded agents, living processes, and what fits together.

The order of FAULTS §5: the store is open and the boot known; now each recorded incarnation is
compared with what lives. Matched is adopted; gone is a fate with whatever is known of its
end; a process of ours whose record is missing is adopted where it is the agent's last known
incarnation, else ended; what can't be identified is left alone and reported.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from agentd.config.agent import AgentConfig
from agentd.core.events import Fate
from agentd.core.records import Durable
from agentd.core.states import State
from agentd.daemon import adoption, pidfds, procfs
from agentd.daemon.adoption import Found
from agentd.daemon.clock import wall_ms
from agentd.daemon.log import log
from agentd.daemon.pidfds import Identity
from agentd.daemon.processes import Processes
from agentd.daemon.registry import Incarnation
from agentd.store.rows import Row, SpawnEnded, SpawnIntent, SpawnRow


@dataclass(slots=True)
class Recovered:
    """What was found: fates for the core, and what the store must learn with its decision."""

    fates: dict[str, Fate] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Recorded:
    """What the store knows, and the pidfds that outlived the daemon, by incarnation id."""

    durables: Mapping[str, Durable]
    spawns: Mapping[str, SpawnRow]
    intents: Mapping[str, SpawnIntent]
    kept_pidfds: Mapping[str, int] = field(default_factory=dict)

    def incarnation_ids(self) -> set[str]:
        ids = {durable.incarnation_id for durable in self.durables.values()}
        ids |= {row.incarnation_id for row in self.spawns.values()}
        return (ids | {row.incarnation_id for row in self.intents.values()}) - {""}


@dataclass(slots=True)
class Recovery:
    """Finds, then adopts. `look` may wait; `adopt` must not, so that nothing happens between
    it and the event that tells the core.
    """

    recorded: Recorded
    boot_id: str
    processes: Processes
    config_of: Callable[[str], AgentConfig | None]
    welcome: Callable[[Incarnation], None]
    """Lets an adopted incarnation speak: registry and notify socket."""
    found: dict[str, Found] = field(default_factory=dict)
    living: dict[str, list[adoption.Stray]] = field(default_factory=dict)
    """Living processes by the incarnation id they were exec'ed with."""

    async def look(self, populated: Collection[str] = ()) -> None:
        """Compare records with processes; `populated` are ids whose cgroups hold processes."""
        for stray in await adoption.scan(self.recorded.incarnation_ids()):
            self.living.setdefault(stray.incarnation_id, []).append(stray)
        for incarnation_id in populated:
            self.living.setdefault(incarnation_id, [])
        for name, row in self.recorded.spawns.items():
            kept = self.recorded.kept_pidfds.get(row.incarnation_id)
            self.found[name] = adoption.find(row, self.boot_id, kept)

    def adopt(self, names: Collection[str]) -> Recovered:
        """Take over what lives of these agents, and tell the fate of each."""
        recovered = Recovered()
        for name in names:
            durable = self.recorded.durables[name]
            row, found = self.recorded.spawns.get(name), self.found.pop(name, None)
            if row is None or found is None:
                self._unrecorded(name, durable, recovered)
            elif found.kind == "alive":
                self._alive(row, found, durable, recovered)
            else:
                self._gone(row, found, durable, recovered)
        return recovered

    def end_strangers(self) -> None:
        """End what lives under a record that no agent claims any more."""
        for name, found in list(self.found.items()):
            if name not in self.recorded.durables and found.kind == "alive":
                row = self.recorded.spawns[name]
                log.warning("orphan.ended", agent=name, pid=row.pid, why="no agent of that name")
                self._end(row)

    def _alive(self, row: SpawnRow, found: Found, durable: Durable, recovered: Recovered) -> None:
        assert found.identity is not None
        if self._take(row, found.identity, found.pidfd):
            recovered.fates[row.agent] = Fate(durable, alive=True, pid=row.pid)
            return
        told = f"pid {row.pid} lives outside of our cgroups; it was left alone"
        log.error("adoption.failed", agent=row.agent, pid=row.pid, why=told)
        recovered.rows.append(SpawnEnded(row.agent, row.incarnation))
        recovered.fates[row.agent] = Fate(durable, ended=True, evidence=told)

    def _gone(self, row: SpawnRow, found: Found, durable: Durable, recovered: Recovered) -> None:
        if found.kind == "unidentifiable":
            log.error("adoption.failed", agent=row.agent, pid=row.pid, why=found.evidence)
        if row.incarnation_id not in self.living or not self._end(row):
            recovered.rows.append(SpawnEnded(row.agent, row.incarnation))
        recovered.fates[row.agent] = Fate(
            durable,
            code=found.ending.code,
            signal=found.ending.signal,
            ended=row.incarnation == durable.incarnation,
            rebooted=found.rebooted,
            evidence=found.evidence,
        )

    def _unrecorded(self, name: str, durable: Durable, recovered: Recovered) -> None:
        """Nothing was recorded to live; a process that carries the last id lives all the same."""
        leader = next((s for s in self.living.get(durable.incarnation_id, ()) if s.leads), None)
        row = _row_of(leader, name, durable, self.boot_id) if leader is not None else None
        if row is None:
            recovered.fates[name] = Fate(durable)
            return
        pidfd = pidfds.open_member(row.pid, row.start_time)
        identity = pidfds.identify(row.pid, pidfd) if pidfd is not None else None
        if pidfd is None or identity is None or not self._take(row, identity, pidfd):
            recovered.fates[name] = Fate(durable)
            return
        log.warning("orphan.adopted", agent=name, pid=row.pid, why="its record was missing")
        if durable.state in (State.STOPPED, State.COOLDOWN, State.ESCALATED):
            log.warning("orphan.unexpected", agent=name, state=durable.state)
        recovered.rows.append(row)
        recovered.fates[name] = Fate(durable, alive=True, pid=row.pid)

    def _take(self, row: SpawnRow, identity: Identity, pidfd: int) -> bool:
        if not self.processes.adopt(row, identity, pidfd, self._config(row.agent)):
            return False
        run = self.processes.living(row.agent)
        self.welcome(
            Incarnation(
                agent=row.agent,
                ordinal=row.incarnation,
                id=row.incarnation_id,
                token=row.token,
                leader_pid=row.pid,
                cgroup=row.cgroup or "",
                uid=run.uid if run is not None else None,
            )
        )
        return True

    def _end(self, row: SpawnRow) -> bool:
        return self.processes.adopt_remains(row, self._config(row.agent))

    def _config(self, agent: str) -> AgentConfig:
        return self.config_of(agent) or AgentConfig()


def _row_of(stray: adoption.Stray, name: str, durable: Durable, boot_id: str) -> SpawnRow | None:
    """Write the record that is missing, from the process itself; None: it is gone by now."""
    environ = procfs.environ(stray.pid)
    if environ is None or environ.get(b"AGENTD_AGENT") != name.encode():
        return None
    cgroup = procfs.cgroup_of(stray.pid) or ""
    return SpawnRow(
        agent=name,
        incarnation=durable.incarnation,
        incarnation_id=stray.incarnation_id,
        token=environ.get(b"AGENTD_TOKEN", b"").decode(errors="replace"),
        pid=stray.pid,
        start_time=stray.start_time,
        pidfd_inode=None,
        boot_id=boot_id,
        cgroup=cgroup if cgroup.endswith(stray.incarnation_id) else None,
        wall_ms=wall_ms(),
    )


async def rebuilt(agents: Collection[str], socket: str, known: Collection[str]) -> Recorded:
    """Record anew, from the processes themselves, what a store that was lost had known.

    An agent of the config that lives, with our socket in its environment, and that the store
    no longer knows, is taken as running under the intent up: nobody is left to say otherwise.
    """
    durables: dict[str, Durable] = {}
    census = await procfs.census()
    for stat in sorted(census.stats.values(), key=lambda one: one.start_time):
        environ = {} if stat.dead else procfs.environ(stat.pid) or {}
        name = environ.get(b"AGENTD_AGENT", b"").decode(errors="replace")
        ours = environ.get(b"AGENTD_SOCKET") == socket.encode()
        if not ours or name not in agents or name in known or name in durables:
            continue
        incarnation_id = environ.get(b"AGENTD_INCARNATION", b"").decode(errors="replace")
        durables[name] = Durable(
            state=State.RUNNING,
            first_start=False,
            execution=incarnation_id,
            incarnation=1,
            incarnation_id=incarnation_id,
        )
    return Recorded(durables, {}, {})
