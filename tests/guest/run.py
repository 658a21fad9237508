#!/usr/bin/env python3
"""agentd under a real systemd, in the guest: run by `make test-guest` as root.

Prints a line a check and ends with `N passed, N failed`. Arguments name the sections to run, all
of them by default; the last one, `boots`, boots the guest twice.
"""

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).parent))
import boots
import ends
import oom
import plain
import units
import zoo
from lab import BASE, CGROUPS, PROJECT, Tally, ask, sh

KEPT = Path(os.environ.get("LAB_OUT", "/lab/out"))
CONFIG = Path("/etc/agentd")
# A start of the daemon can be held (`ends.held_starts`), which its own check beforehand is not.
SCRIPT = """#!/usr/bin/python3
import os, pathlib, sys, time
hold = pathlib.Path("/run/agentd/hold")
if sys.argv[1:2] == ["start"] and "AGENTD_CHECK_START" not in os.environ:
    while hold.exists():
        hold.with_suffix(".held").touch()
        time.sleep(0.1)
sys.path.insert(0, {project!r})
from agentd.cli.{module} import main
main()
"""
DAEMON = """\
[defaults]
ready = "spawn"
stop_timeout = "20s"
startup_timeout = "2m"
[defaults.heartbeat]
required = false
[defaults.restart]
cooldown = "2s"
"""
SECTIONS = {"plain": plain, "oom": oom, "zoo": zoo, "ends": ends, "units": units}


def install(sections: Sequence[ModuleType]) -> None:
    """Put agentd into place as an administrator would, with these agents, and enable it."""
    # As an installer does; the unit makes the place read-only, so the daemon can't.
    sh("python3", "-m", "compileall", "-q", "-j", "2", str(PROJECT / "agentd"))
    for name, module in (("agentd", "agentd"), ("agentctl", "main")):
        script = Path("/usr/local/bin") / name
        script.write_text(SCRIPT.format(project=str(PROJECT), module=module))
        script.chmod(0o755)
    sh("systemd-sysusers", str(PROJECT / "contrib/systemd/agentd.sysusers.conf"))
    (CONFIG / "agents.d").mkdir(parents=True, exist_ok=True)
    (CONFIG / "agentd.toml").write_text(DAEMON)
    agents = dict(BASE)
    for section in sections:
        agents |= section.OWN
    for name, text in agents.items():
        (CONFIG / "agents.d" / f"{name}.toml").write_text(text + "\n")
    unit = sh("agentd", "unit").stdout
    Path("/etc/systemd/system/agentd.service").write_text(unit)
    sh("systemctl", "daemon-reload")
    sh("systemctl", "enable", "agentd")


def attempt(tally: Tally, check: object) -> None:
    """Run one group of checks; what it raises is its failure, not the end of the others."""
    try:
        check(tally)
    except Exception as error:  # noqa: BLE001 - the next group is to be seen too
        name = getattr(check, "__name__", repr(check))
        tally.check(name, holds=False, seen=repr(error))


def chosen() -> list[ModuleType]:
    """Return the sections that were named, or all of them, in their order."""
    return [section for name, section in SECTIONS.items() if name in named()]


def named() -> list[str]:
    return [word for argument in sys.argv[1:] for word in argument.split()] or [*SECTIONS, "boots"]


def main() -> None:
    assert (CGROUPS / "cgroup.controllers").exists(), "this is for the guest"
    KEPT.mkdir(parents=True, exist_ok=True)
    tally = Tally(KEPT / "tally.json")
    if (KEPT / "booting").exists():
        attempt(tally, partial(boots.go_on, kept=KEPT))
        tally.end()
    sections = chosen()
    install(sections)
    attempt(tally, plain.starts_and_tells_systemd)
    if plain not in sections:
        ask("kill", select=["killed"])
        ask("stop", select=["tree"])
    for section in sections:
        begun_s = time.monotonic()
        for check in section.CHECKS:
            attempt(tally, check)
        print(f"     {section.__name__}: {time.monotonic() - begun_s:.0f} s", flush=True)
    if os.environ.get("LAB_REBOOT") and "boots" in named():
        boots.begin(KEPT)
    tally.end()


if __name__ == "__main__":
    main()
