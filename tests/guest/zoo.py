"""Stopped means empty: trees that are hard to end, each in its control group."""

import socket
from pathlib import Path

from lab import PROJECT, Tally, agent, ask, leaf_of, sh, until, wait_for

PROGRAM = PROJECT / "tests/faults/programs/zoo.py"
KINDS = (
    "setsid",
    "double-fork",
    "deaf-grandchild",
    "fork-burst",
    "leader-first",
    "port-holder",
    "bare",
    "stopped",
    "respawner",
)
PLACE = Path("/var/tmp/zoo")
OWN = {
    kind: f"command = ['python3', '-S', '{PROGRAM}', '{kind}']\n"
    f"directory = '{PLACE}/{kind}'\nautostart = false\n"
    for kind in KINDS
}


def said(kind: str) -> str:
    """Return what the program printed when its whole tree stood."""
    path = Path(f"/var/log/agentd/{kind}.log")
    lines = path.read_text(errors="replace").split("\n") if path.exists() else []
    return next((line for line in lines if line.startswith("ready")), "")


def of_kind(kind: str) -> list[str]:
    """Return the pids that work in a kind's own directory: all of it, and nothing else."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                inside = (entry / "cwd").readlink() == PLACE / kind
            except OSError:  # it ended meanwhile
                continue
            found += [entry.name] if inside else []
    return found


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def stopped_means_empty(tally: Tally) -> None:
    for kind in KINDS:
        (PLACE / kind).mkdir(parents=True, exist_ok=True)
    ask("start", select=list(KINDS))
    leaves = {}
    for kind in KINDS:
        stands = wait_for(kind, state="running") and until(lambda kind=kind: said(kind))
        tally.check(f"d1: {kind} stands", stands, len(of_kind(kind)))
        leaves[kind] = leaf_of(agent(kind)["pid"])
    port = int(said("port-holder").split()[1])
    tally.check("d1: the port is held", not is_free(port), port)
    for kind in KINDS:
        stopped = sh("agentctl", "stop", kind, "--reason", "check")
        # Emulated, with two hundred forks at a time, no answer may come in time (124): it is
        # what is shown then that counts.
        over = stopped.returncode in (0, 124) and wait_for(kind, state="stopped")
        left = of_kind(kind)
        tally.check(f"d1: {kind} is stopped", over, stopped.stderr or agent(kind).get("state"))
        tally.check(f"d1: {kind}: nobody survived", not left, left)
        gone = until(lambda kind=kind: not leaves[kind].exists(), 10)
        tally.check(f"d1: {kind}: its group is gone", gone)
    tally.check("d1: the port is free", is_free(port), port)


CHECKS = (stopped_means_empty,)
