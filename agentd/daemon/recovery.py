"""What a daemon finds at its start: recorded agents, living processes, and what fits together.

The store is open and the boot known; now each recorded incarnation is compared with what
lives. Matched is adopted; gone is a fate with whatever is known of its end. A process of ours
whose record is missing (nothing could be written, or the store was lost) is adopted where its
agent has no other: whatever the store knows, nothing is started twice. What can't be
identified is left alone and reported.
"""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from agentd.config.agent import AgentConfig
from agentd.config.names import INTERNAL
from agentd.core.agent import After
from agentd.core.events import Fate
from agentd.core.records import Durable
from agentd.core.states import Intent, State, StopReason
from agentd.daemon import adoption, pidfds, procfs
from agentd.daemon.adoption import Found
from agentd.daemon.clock import wall_ms
from agentd.daemon.launch import GATE_SHUT
from agentd.daemon.log import log
from agentd.daemon.pidfds import UNSEEN, Identity
from agentd.daemon.processes import Processes
from agentd.daemon.registry import Incarnation
from agentd.store.rows import Row, SpawnEnded, SpawnIntent, SpawnRow

_MAY_BE_UP: Final = (State.STARTING, State.RUNNING)


@dataclass(slots=True)
class Recovered:
    """What was found: fates for the core, and what the store must learn with its decision."""

    fates: dict[str, Fate] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Recorded:
    """What the store knows, and the pidfds that outlived the daemon, by incarnation id."""

    durables: dict[str, Durable]
    spawns: Mapping[str, SpawnRow]
    intents: Mapping[str, SpawnIntent]
    kept_pidfds: Mapping[str, int] = field(default_factory=dict)

    def incarnation_ids(self) -> set[str]:
        ids = {durable.incarnation_id for durable in self.durables.values()}
        ids |= {row.incarnation_id for row in self.spawns.values()}
        return (ids | {row.incarnation_id for row in self.intents.values()}) - {""}

    def ids_of(self, agents: Collection[str]) -> set[str]:
        """Return the incarnation ids of these agents' recorded processes."""
        return {row.incarnation_id for name, row in self.spawns.items() if name in agents}


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
    socket: str = ""
    """Our socket, by which children are known that no store tells of."""
    found: dict[str, Found] = field(default_factory=dict)
    living: dict[str, list[adoption.Stray]] = field(default_factory=dict)
    """Living processes by the incarnation id they were exec'ed with."""
    unknown: dict[str, list[adoption.Stray]] = field(default_factory=dict)
    """Leaders of incarnations that no record tells of, by agent."""
    all_seen: bool = True
    """Whether no process can have hidden from the look behind the end of another."""

    async def look(self, agents: Collection[str], populated: Collection[str] = ()) -> None:
        """Compare records with processes; `populated` are ids whose cgroups hold processes.

        One of `agents` that lives and of which the store knows nothing at all is taken as
        running under the intent up: nobody is left to say otherwise.
        """
        known = self.recorded.incarnation_ids()
        seen = await adoption.scan(known, self.socket)
        self.all_seen = seen.is_whole
        for stray in seen.strays:
            if stray.incarnation_id in known or not stray.leads:
                self.living.setdefault(stray.incarnation_id, []).append(stray)
            else:
                self.unknown.setdefault(stray.agent, []).append(stray)
        for incarnation_id in populated:
            self.living.setdefault(incarnation_id, [])
        for name in self.unknown.keys() & set(agents) - self.recorded.durables.keys():
            self.recorded.durables[name] = Durable(
                state=State.RUNNING,
                first_start=False,
                execution=self.unknown[name][0].incarnation_id,
            )
        for name, row in self.recorded.spawns.items():
            kept = self.recorded.kept_pidfds.get(row.incarnation_id)
            self.found[name] = adoption.find(row, self.boot_id, kept)

    def adopt(self, names: Collection[str]) -> Recovered:
        """Take over what lives of these agents, and tell the fate of each."""
        recovered = Recovered()
        for name in names:
            durable = self.recorded.durables[name]
            if name in INTERNAL:
                durable = _cut_off(durable)
            row, found = self.recorded.spawns.get(name), self.found.pop(name, None)
            if row is not None and found is not None and found.kind == "alive":
                self._alive(row, found, durable, recovered)
            elif not self._unrecorded(name, durable, row, recovered):
                if row is None or found is None:
                    recovered.fates[name] = Fate(durable)
                else:
                    self._gone(row, found, durable, recovered)
            for stray in self.unknown.pop(name, ()):
                told = "another incarnation than the one we know; it was left alone"
                log.error("orphan.unknown", agent=name, pid=stray.pid, why=told)
        return recovered

    def end_strangers(self) -> None:
        """End what lives under a record that no agent claims any more."""
        for name, found in list(self.found.items()):
            if name not in self.recorded.durables and found.kind == "alive":
                row = self.recorded.spawns[name]
                log.warning("orphan.ended", agent=name, pid=row.pid, why="no agent of that name")
                os.close(found.pidfd)
                self._end(row)
        for name in self.unknown.keys() - self.recorded.durables.keys():
            for stray in self.unknown.pop(name):
                told = "no agent of that name, and no record; it was left alone"
                log.error("orphan.unknown", agent=name, pid=stray.pid, why=told)

    def _alive(self, row: SpawnRow, found: Found, durable: Durable, recovered: Recovered) -> None:
        assert found.identity is not None
        if self._take(row, found.identity, found.pidfd):
            recovered.fates[row.agent] = self._adopted(row, durable)
            return
        os.close(found.pidfd)
        told = f"pid {row.pid} lives outside of our cgroups; it was left alone"
        log.error("adoption.failed", agent=row.agent, pid=row.pid, why=told)
        recovered.rows.append(SpawnEnded(row.agent, row.incarnation))
        recovered.fates[row.agent] = Fate(durable, ended=True, evidence=told)

    def _gone(self, row: SpawnRow, found: Found, durable: Durable, recovered: Recovered) -> None:
        if found.kind == "unidentifiable":
            log.error("adoption.failed", agent=row.agent, pid=row.pid, why=found.evidence)
        if not self._may_have_left_some(row, found) or not self._end(row):
            recovered.rows.append(SpawnEnded(row.agent, row.incarnation))
        # Its gate shut when that daemon died: it never became the agent, and nothing ended. Nor did
        # anything as far as anybody knows where nobody saw the gate open, and nobody the end.
        is_unseen = found.kind == "gone" and not found.rebooted and found.ending == UNSEEN
        never_ran = durable.state is State.STARTING and (
            found.ending.code == GATE_SHUT or (is_unseen and durable.spawned_at_ms is None)
        )
        recovered.fates[row.agent] = Fate(
            durable,
            code=found.ending.code,
            signal=found.ending.signal,
            ended=row.incarnation == durable.incarnation and not never_ran,
            rebooted=found.rebooted,
            evidence=found.evidence,
        )

    def _may_have_left_some(self, row: SpawnRow, found: Found) -> bool:
        """Whether a process of this run may live; a control group without any is a proof."""
        if row.incarnation_id in self.living:
            return True
        return not (self.all_seen or row.cgroup or found.rebooted)

    def _unrecorded(
        self, name: str, durable: Durable, old: SpawnRow | None, recovered: Recovered
    ) -> bool:
        """Adopt a process of this agent that no record tells of; False: there is none.

        It is the incarnation that was last decided on, where a crash came before the record
        of its pid, or one that could not be recorded at all, which then counts as the next.
        """
        stray = self._leader_of(name, durable, old)
        if stray is None:
            return False
        is_new = stray.incarnation_id != durable.incarnation_id
        if is_new:
            durable = replace(
                durable,
                incarnation=durable.incarnation + 1,
                incarnation_id=stray.incarnation_id,
            )
        row = _row_of(stray, name, durable, self.boot_id)
        pidfd = pidfds.open_member(stray.pid, stray.start_time) if row is not None else None
        if row is None or pidfd is None:
            return False
        identity = pidfds.identify(row.pid, pidfd)
        if identity is None or not self._take(row, identity, pidfd):
            os.close(pidfd)
            return False
        log.warning("orphan.adopted", agent=name, pid=row.pid, why="its record was missing")
        if durable.state in (State.STOPPED, State.COOLDOWN, State.ESCALATED):
            log.warning("orphan.unexpected", agent=name, state=durable.state)
        if old is not None:
            recovered.rows.append(SpawnEnded(old.agent, old.incarnation))
        recovered.rows.append(row)
        recovered.fates[name] = replace(self._adopted(row, durable), unrecorded=is_new)
        return True

    def _adopted(self, row: SpawnRow, durable: Durable) -> Fate:
        run = self.processes.living(row.agent)
        stands = run is not None and run.stands()
        return Fate(durable, alive=True, pid=row.pid, stands=stands)

    def _leader_of(
        self, name: str, durable: Durable, old: SpawnRow | None
    ) -> adoption.Stray | None:
        """Return the process that would be this agent's, of those without a record."""
        last = [one for one in self.living.get(durable.incarnation_id, ()) if one.leads]
        if last and old is None:
            return last[0]
        unknown = self.unknown.get(name)
        if not unknown or (old is not None and old.incarnation_id in self.living):
            return None  # what is left of the recorded one goes first
        newest = max(unknown, key=lambda one: one.start_time)
        unknown.remove(newest)
        return newest

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
                leader_inode=identity.inode,
            )
        )
        return True

    def _end(self, row: SpawnRow) -> bool:
        return self.processes.adopt_remains(row, self._config(row.agent))

    def _config(self, agent: str) -> AgentConfig:
        return self.config_of(agent) or AgentConfig()


def _cut_off(durable: Durable) -> Durable:
    """Return the record of an internal agent whose channel ended with the daemon before us.

    It exits by itself, or has: either way that is the end of a stop of ours, which another
    start follows, and nobody's failure. One that was meant to be down, or to stand still,
    stays so.
    """
    if durable.intent is not Intent.UP or durable.state not in _MAY_BE_UP:
        return durable
    return replace(
        durable,
        state=State.STOPPING,
        stop_reason=StopReason.DAEMON_STOPPED,
        stop_evidence="its channel ended with the agentd before this one",
        stop_after=After.AGAIN.value,
    )


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
