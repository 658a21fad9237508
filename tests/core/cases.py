"""Incidents in tests of the core: a fleet that beats, and what was told of its incidents."""

from agentd.config.agent import HeartbeatConfig
from agentd.config.schema import BreakerConfig, Config
from agentd.config.units import Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.lines import BreakerReport
from agentd.core.records import IncidentRecord
from tests.core.fleet import Fleet, config

S = 1_000
MINUTE = 60 * S
HOUR = 3_600 * S
SILENT_OK = HeartbeatConfig(required=False)


def fleet_of(*names: str, **keys: object) -> Fleet:
    """A fleet that has beaten once, at 1 s."""
    fleet = Fleet({name: config(**keys) for name in names}).start()
    for name in names:
        fleet.beat(name, 1 * S)
    return fleet


def kept(fleet: Fleet) -> dict[int, IncidentRecord]:
    """Incidents as the store has them."""
    found = [one.incident for _, one in fleet.effects if isinstance(one, do.PersistIncident)]
    return {incident.number: incident for incident in found}


def only(fleet: Fleet) -> IncidentRecord:
    """The only incident there ever was."""
    [incident] = kept(fleet).values()
    return incident


def alerts(fleet: Fleet, kind: str | None = None) -> list[do.Alert]:
    found = [one for _, one in fleet.effects if isinstance(one, do.Alert)]
    return [one for one in found if kind in (None, one.kind)]


def beat_on(fleet: Fleet, name: str, until_ms: int, step_ms: int = 30 * S) -> None:
    """Heartbeats without work, up to then."""
    while fleet.now_ms + step_ms <= until_ms:
        fleet.beat(name, fleet.now_ms + step_ms)
    fleet.beat(name, until_ms)


def behind_a_breaker() -> Fleet:
    agents = {name: config(heartbeat=SILENT_OK) for name in "ab"}
    fleet = Fleet(agents).start()
    breakers = {"api": BreakerConfig(failures=2, reset_ms=Milliseconds(60 * S))}
    fleet.tell(ev.Configured(Config(agents=agents, breakers=breakers)))
    for name in "ab":
        fleet.beat(name, 10 * S, BreakerReport("api", False, 1, "429"))
    return fleet
