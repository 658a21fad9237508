"""The agents' processes: started, signalled, killed, frozen, and their ends told as events.

Nothing here decides. A start has two halves: `prepare` leaves a child waiting at the gate, so
that who it is can be made durable; `release` lets it exec. `Spawned` is posted when the exec
was seen, `SpawnFailed` when there was none; then `Exited` and, once nothing of the tree is
left, `TreeEmpty`. An effect about an incarnation that is gone does nothing.
"""

import asyncio
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from agentd.config.agent import AgentConfig
from agentd.core.effects import Freeze, KillTree, Signal, Spawn, Thaw
from agentd.core.events import Event, SpawnFailed
from agentd.daemon import launch, procfs
from agentd.daemon.gates import Gates
from agentd.daemon.host import Host
from agentd.daemon.launch import Outfit
from agentd.daemon.mover import Mover
from agentd.daemon.oom import KernelLog
from agentd.daemon.orphans import Orphans
from agentd.daemon.pidfds import Identity
from agentd.daemon.programs import SpawnError
from agentd.daemon.runs import Run, Stage
from agentd.daemon.sweep import SweepForest
from agentd.daemon.tree import Forest, Tree
from agentd.store.rows import SpawnRow

_TOKEN_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Prepared:
    """A child at the gate: what has to be durable before it is let go."""

    agent: str
    incarnation: int
    incarnation_id: str
    pid: int
    pidfd: int
    """Stays open until `TreeEmpty` or `SpawnFailed`; not the caller's to close."""
    start_time: int
    pidfd_inode: int
    boot_id: str
    cgroup: str
    token: str
    uid: int


_Key = tuple[str, int]


class Processes:
    """Every incarnation that has, or may have, a living process."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        post: Callable[[Event], None],
        host: Host,
        gate: str,
    ) -> None:
        """`gate` is the path that `launch.install_gate` returned."""
        self._loop = loop
        self._post = post
        self._host = host
        self._gate = gate
        self._runs: dict[_Key, Run] = {}
        self._mover = Mover(loop)
        self._gates = Gates(loop, post, host.cores, self._mover, self._started)
        self._called_off: set[_Key] = set()
        self._preparing: set[_Key] = set()
        self._forking = asyncio.Lock()
        self._helpers: set[int] = set()
        self._sweep = SweepForest(loop, self.strangers)
        self.kernel_log = KernelLog()
        self.orphans = Orphans(loop, self.strangers)
        self.on_running: Callable[[Run], None] | None = None
        """Told of each run once it runs: the sampler."""
        self.forest: Forest | None = None
        """Set once, before the first `prepare`: a `CgroupForest`, or a `SweepForest`."""

    async def prepare(
        self, effect: Spawn, config: AgentConfig, outfit: Outfit
    ) -> Prepared | SpawnFailed:
        """Fork a child for this incarnation and leave it waiting at the gate.

        The caller posts a `SpawnFailed` it is given. Forks take turns with the event loop.
        While another incarnation of the agent has a living tree there is none, and the
        failure is a shortage: it is nobody's fault, and over when that tree is.
        """
        key = (effect.agent, effect.incarnation)
        self._preparing.add(key)
        try:
            async with self._forking:
                answer = self._prepare_unless_called_off(key, effect, config, outfit)
                await asyncio.sleep(0)  # a hundred starts must not keep the loop from its events
                return answer
        finally:
            self._preparing.discard(key)
            self._called_off.discard(key)

    def release(self, prepared: Prepared) -> None:
        """Let the child exec; `Spawned` or `SpawnFailed` follows. Gone by now: neither."""
        self._gates.release(prepared.agent, prepared.incarnation)

    def cancel(self, prepared: Prepared) -> None:
        """Send the child away from the gate: nothing has run, and nothing is posted."""
        self._gates.cancel(prepared.agent, prepared.incarnation)

    def _prepare_unless_called_off(
        self, key: _Key, effect: Spawn, config: AgentConfig, outfit: Outfit
    ) -> Prepared | SpawnFailed:
        agent, incarnation = key
        if key in self._called_off:
            return SpawnFailed(agent, incarnation, "called off before it began")
        other = self.living(agent)
        if other is not None:
            error = (
                f"incarnation {other.incarnation} (pid {other.pid}) may still have living processes"
            )
            return SpawnFailed(agent, incarnation, error, shortage=True)
        try:
            return self._fork(effect, config, outfit)
        except SpawnError as error:
            return SpawnFailed(agent, incarnation, str(error), shortage=error.shortage)

    def _fork(self, effect: Spawn, config: AgentConfig, outfit: Outfit) -> Prepared:
        """Fork, or raise SpawnError and leave nothing behind."""
        token = secrets.token_hex(_TOKEN_BYTES)
        ours = {
            **outfit.environment,
            "AGENTD_AGENT": effect.agent,
            "AGENTD_INCARNATION": effect.incarnation_id,
            "AGENTD_TOKEN": token,
        }
        plan = launch.plan(config, replace(outfit, environment=ours), self._host)
        assert self.forest is not None, "set before the first start"
        try:
            tree = self.forest.plant(effect.incarnation_id, _backstop(config), outfit.log_fd)
        except OSError as error:
            # The group above is away while systemd restarts the unit that holds it.
            place = str(error.filename or "cgroup")
            number = error.errno or 0
            hint = "" if error.strerror in (None, os.strerror(number)) else error.strerror
            raise SpawnError(number, place, hint, host_at_fault=True) from None
        try:
            gated = launch.launch(plan, self._gate, self._host)
        except BaseException:
            tree.remove()
            raise
        tree.lead(gated.identity)
        run = self._run(effect.agent, effect.incarnation, effect.incarnation_id, tree, config)
        run.identity, run.pidfd, run.uid = gated.identity, gated.pidfd, plan.person.ids.uid
        self._gates.add(run, gated, plan)
        return self._prepared(run, token)

    def _run(
        self, agent: str, incarnation: int, incarnation_id: str, tree: Tree, config: AgentConfig
    ) -> Run:
        run = Run(
            loop=self._loop,
            post=self._post,
            over=self._over,
            agent=agent,
            incarnation=incarnation,
            incarnation_id=incarnation_id,
            identity=Identity(0, 0, 0),
            pidfd=-1,
            tree=tree,
            stage=Stage.GATED,
            uid=os.geteuid(),
            kernel_log=self.kernel_log,
            limit_bytes=config.memory.limit_bytes,
            sample_ms=config.memory.sample_ms,
        )
        self._runs[agent, incarnation] = run
        return run

    def _prepared(self, run: Run, token: str) -> Prepared:
        return Prepared(
            agent=run.agent,
            incarnation=run.incarnation,
            incarnation_id=run.incarnation_id,
            pid=run.pid,
            pidfd=run.pidfd,
            start_time=run.identity.start_time,
            pidfd_inode=run.identity.inode,
            boot_id=self._host.boot_id,
            cgroup=run.tree.cgroup,
            token=token,
            uid=run.uid,
        )

    def expect_start(self) -> None:
        """Have the kernel's wait of the next move over before it is made."""
        if self.forest is not None:
            self._mover.expect(self.forest.prepare_move)

    def signal(self, effect: Signal) -> None:
        run = self._runs.get((effect.agent, effect.incarnation))
        if run is not None:
            run.signal(effect)

    def kill_tree(self, effect: KillTree) -> None:
        key = (effect.agent, effect.incarnation)
        run = self._runs.get(key)
        if run is not None:
            run.kill()
        elif key in self._preparing:
            self._called_off.add(key)

    def freeze(self, effect: Freeze) -> None:
        run = self._runs.get((effect.agent, effect.incarnation))
        if run is not None:
            run.freeze(effect)

    def thaw(self, effect: Thaw) -> None:
        run = self._runs.get((effect.agent, effect.incarnation))
        if run is not None:
            run.thaw(effect)

    def adopt(self, row: SpawnRow, identity: Identity, pidfd: int, config: AgentConfig) -> bool:
        """Take over a living incarnation as it is; `pidfd` becomes ours.

        False, and nothing is touched: the agent has a living tree already.
        """
        if self.living(row.agent) is not None:
            return False
        tree = self._attach(row)
        tree.lead(identity)
        run = self._run(row.agent, row.incarnation, row.incarnation_id, tree, config)
        run.identity, run.pidfd, run.uid = identity, pidfd, procfs.uid_of(identity.pid)
        run.stage = Stage.RUNNING
        run.attend()
        self._started(run)
        return True

    def adopt_remains(self, row: SpawnRow, config: AgentConfig) -> bool:
        """Kill what a dead leader of an earlier daemon left; `TreeEmpty` follows.

        Until then the agent has no other start. False: it has a living tree already.
        """
        if self.living(row.agent) is not None:
            return False
        run = self._run(row.agent, row.incarnation, row.incarnation_id, self._attach(row), config)
        run.identity = Identity(row.pid, row.start_time, row.pidfd_inode or 0)
        run.attend_remains()
        run.kill()
        return True

    def _attach(self, row: SpawnRow) -> Tree:
        """Return the tree of a recorded run; one whose group is gone is found by sweeping."""
        assert self.forest is not None, "set before the first adoption"
        tree = self.forest.attach(row.incarnation_id, row.cgroup or "")
        return tree if tree is not None else self._sweep.attach(row.incarnation_id)

    def apply(self, agent: str, config: AgentConfig) -> None:
        """Apply what a new config changes of a run that goes on: memory limit and sampling."""
        run = self.living(agent)
        if run is not None:
            run.limit_bytes = config.memory.limit_bytes
            run.sample_ms = config.memory.sample_ms
            run.tree.limit_memory(_backstop(config))
            if run.stage is Stage.RUNNING:
                self._started(run)

    def living(self, agent: str) -> Run | None:
        """Return the run of an agent that has, or may have, a living process."""
        return next((run for run in self._runs.values() if run.agent == agent), None)

    def run_of(self, agent: str, incarnation: int) -> Run | None:
        """Return the run of an incarnation of which something is left; None: nothing is."""
        return self._runs.get((agent, incarnation))

    def runs(self) -> list[Run]:
        """Return every run of which something is left."""
        return list(self._runs.values())

    def strangers(self) -> set[int]:
        """Return our living children that are neither leaders nor helpers of the daemon."""
        explained = {run.pid for run in self._runs.values()} | self._helpers
        return procfs.own_children() - explained

    def helper_started(self, pid: int) -> None:
        """Say that this child is a command of the daemon's own, and not an agent's orphan."""
        self._helpers.add(pid)

    def helper_ended(self, pid: int) -> None:
        self._helpers.discard(pid)

    def close(self) -> None:
        """Let go of everything and touch no agent: those that live can be adopted.

        Children still at the gate are sent away; they have run nothing.
        """
        self._gates.close()
        self._mover.close()
        for run in self.runs():
            run.detach()
        self._runs.clear()
        self.orphans.close()
        self.kernel_log.close()
        if self.forest is not None:
            self.forest.close()

    def _started(self, run: Run) -> None:
        if self.on_running is not None:
            self.on_running(run)

    def _over(self, run: Run) -> None:
        self._runs.pop((run.agent, run.incarnation), None)


def _backstop(config: AgentConfig) -> int:
    """Return the limit that the kernel stands behind; 0: only told, so nobody is killed."""
    return config.memory.limit_bytes if config.memory.on_limit != "alert" else 0
