"""Faults from outside: operators, clients, followers, strangers, and the configuration."""

import contextlib
import json
import random
import signal
import socket
import time

from tests.soak.kinds import kind
from tests.soak.population import text_of
from tests.soak.soak import Missed, Soak

DEEDS = {
    "start": 3,
    "resume": 3,
    "restart": 3,
    "stop": 2,
    "pause": 2,
    "kill": 1,
    "unhold": 2,
    "hold": 1,
    "reset": 1,
}
REFUSED = "it would not start again"


@kind("operators by chance", "K1 K3 K5", weight=5)
def _operators(soak: Soak, rng: random.Random) -> str:
    done = 0
    for _ in range(rng.randint(1, 5)):
        name = rng.choice(sorted(soak.people))
        deed = rng.choices(list(DEEDS), list(DEEDS.values()))[0]
        more = {"fresh": True} if deed == "start" and rng.random() < 0.1 else {}
        request = f"soak-{rng.randrange(1 << 60)}"
        first = soak.order(deed, name, request, reason="by chance", **more)
        done += first is not None and "error" not in first
        if rng.random() < 0.4:
            again = soak.order(deed, name, request, reason="by chance", **more)
            soak.ledger.replayed += 1
            if first is not None and again is not None and first != again:
                soak.broke(f"INV5: {deed} {name} again: {first} and {again}")
    return "as promised" if done else Missed("refused")


@kind("an operator wants all to run", "K1", weight=2)
def _revived(soak: Soak, rng: random.Random) -> str:
    before = soak.ledger.orders
    names = [name for name in soak.ordinary() if rng.random() < 0.8]
    soak.revive(names)
    return "started, resumed, let go" if soak.ledger.orders > before else Missed("all ran")


@kind("an operator asks and leaves", "K5")
def _leaves(soak: Soak, rng: random.Random) -> str:
    name = rng.choice(sorted(soak.people))
    request = f"left-{rng.randrange(1 << 60)}"
    line = {"id": request, "cmd": "restart", "args": {"select": [name], "reason": "cut off"}}
    soak.ledger.doubtful.add(name)
    with contextlib.suppress(OSError), soak.fleet.connect() as channel:
        channel.sendall(json.dumps(line).encode() + b"\n")
    again = soak.order("restart", name, request, reason="cut off")
    return "answered again" if again is not None else Missed("refused")


@kind("a signal by hand", "A3")
def _signal(soak: Soak, rng: random.Random) -> str:
    name = rng.choice(sorted(soak.people))
    told = soak.order("signal", name, signal=rng.choice(["SIGHUP", "SIGUSR1", "SIGTERM"]))
    return "sent" if told and "error" not in told else Missed("refused")


@kind("a crowd connects and leaves", "C1")
def _crowd(soak: Soak, _rng: random.Random) -> str:
    return soak.hostile("visit", 500)


@kind("connections are held", "C1")
def _held(soak: Soak, rng: random.Random) -> str:
    return soak.hostile("hold", rng.randint(50, 150))


@kind("unknown commands", "L4")
def _unknown(soak: Soak, _rng: random.Random) -> str:
    # More than anybody may send a second: others of that user wait meanwhile.
    with soak.fleet.away():
        return soak.hostile("unknown", 150)


@kind("too many commands", "P10")
def _storm(soak: Soak, _rng: random.Random) -> str:
    with soak.fleet.away():
        return soak.hostile("storm", 200)


@kind("commands whose answer nobody awaits", "K5")
def _half(soak: Soak, _rng: random.Random) -> str:
    with soak.fleet.away():
        return soak.hostile("half", 60)


@kind("a stranger connects", "L1")
def _stranger(soak: Soak, _rng: random.Random) -> str:
    said = soak.hostile("stranger", 0)
    if said not in ("forbidden", "closed", "EACCES", "PermissionError"):
        soak.broke(f"L1: a stranger was told {said}")
    return said


@kind("followers are cut", "K11")
def _followers(soak: Soak, rng: random.Random) -> str:
    held: list[socket.socket] = []
    for number in range(8):
        with contextlib.suppress(OSError):
            channel = soak.fleet.connect()
            line = {"id": f"f{number}", "cmd": "events", "args": {"after": 0}, "follow": True}
            channel.sendall(json.dumps(line).encode() + b"\n")
            held.append(channel)
    time.sleep(rng.uniform(0.1, 1.5))
    soak.listener.cut()
    for channel in held:
        channel.close()
    return "went on behind its cursor" if held else Missed("nobody followed")


@kind("a reload that changes nothing", "J5")
def _reload(soak: Soak, rng: random.Random) -> str:
    if rng.random() < 0.3:
        soak.fleet.signal(signal.SIGHUP)
        return "SIGHUP"
    plan = soak.fleet.ask("reload")
    changed = [*plan["added"], *plan["removed"], *plan["restarted"], *plan["errors"]]
    if changed:
        soak.broke(f"J5: a reload of the same files changes {changed}")
    return "nothing changed"


@kind("one agent's environment changes", "J5")
def _environment(soak: Soak, rng: random.Random) -> str:
    name = rng.choice(sorted(soak.people))
    one = soak.people[name]
    more = f'environment = {{ CHANGED = "{rng.randrange(1 << 30)}" }}'
    soak.fleet.agent(name, list(one.command), text_of(one, more))
    plan = soak.fleet.ask("reload")
    touched = {change["agent"] for change in [*plan["restarted"], *plan["applied"]]}
    if touched != {name} or plan["added"] or plan["removed"] or plan["errors"]:
        soak.broke(f"J5: {name} was changed, the plan is {json.dumps(plan)[:300]}")
    return "that one alone"


@kind("a broken file of one agent", "J3 J4")
def _broken_agent(soak: Soak, rng: random.Random) -> str:
    name = rng.choice(sorted(soak.people))
    path = soak.fleet.root / "agents.d" / f"{name}.toml"
    good = path.read_text()
    path.write_text(rng.choice(["", "command = [", 'command = "x"\nrestrat = 1', "\0\0\0"]))
    plan = soak.fleet.ask("reload")
    path.write_text(good)
    if not plan["errors"] or plan["removed"]:
        soak.broke(f"J3: a broken file of {name} gives the plan {json.dumps(plan)[:300]}")
    soak.fleet.ask("reload")
    return "named, nothing stopped"


@kind("a broken main file", "J1 J4")
def _broken_main(soak: Soak, rng: random.Random) -> str:
    good = soak.fleet.config.read_text()
    soak.fleet.config.write_text(rng.choice(["[daemon", "[daemon]\nwacht = true\n", "\xff{"]))
    try:
        plan = soak.fleet.ask("reload")
        if not plan["errors"]:
            soak.broke("J4: a broken main file was taken")
        if rng.random() < 0.5:
            told = soak.fleet.log_all().count(REFUSED)
            soak.fleet.signal(signal.SIGUSR2)
            soak.fleet.until_true(lambda: soak.fleet.log_all().count(REFUSED) > told)
    finally:
        soak.fleet.config.write_text(good)
    return "refused"


@kind("an agent comes and goes", "J6")
def _comes_and_goes(soak: Soak, rng: random.Random) -> str:
    name = f"guest-{rng.randrange(1000)}"
    command = rng.choice([["sleep", "1000"], ["/nonexistent/program"], ["/tmp"]])
    soak.fleet.agent(name, command, "[heartbeat]\nrequired = false")
    soak.fleet.ask("reload")
    soak.fleet.until(name, lambda s: s["state"] not in ("stopped", "starting"))
    (soak.fleet.root / "agents.d" / f"{name}.toml").unlink()
    plan = soak.fleet.ask("reload")
    if plan["removed"] != [name]:
        soak.broke(f"J6: {name} was taken away, the plan is {json.dumps(plan)[:300]}")
    return "added, removed"
