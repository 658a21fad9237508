"""A new configuration meets what had failed under the old one."""

import pytest

from agentd.config.agent import RestartConfig
from agentd.config.names import HTTP_AGENT
from agentd.config.schema import Config
from agentd.core import events as ev
from agentd.core.states import State
from tests.core.fleet import Fleet, config


def _failed_twice(name: str, failures_max: int) -> Fleet:
    fleet = Fleet({name: config(restart=RestartConfig(failures_max=failures_max))}).start()
    fleet.end(name, 1_000, code=1)
    fleet.end(name, 2_000, code=1)
    return fleet


def _mend(fleet: Fleet, name: str) -> None:
    agents = {name: config(environment={"AGENTD_SETTINGS": "1"})}
    fleet.tell(ev.Configured(Config(agents=agents), restart=frozenset({name})), 5_000)


@pytest.mark.parametrize(("failures_max", "before"), [(3, State.COOLDOWN), (2, State.ESCALATED)])
def test_an_internal_agent_that_had_failed_starts_once_its_table_is_mended(
    failures_max: int, before: State
) -> None:
    """Its port was taken, say: with another one nothing else has to be typed."""
    fleet = _failed_twice(HTTP_AGENT, failures_max)
    assert fleet.state_of(HTTP_AGENT) is before
    _mend(fleet, HTTP_AGENT)
    assert fleet.starts_of(HTTP_AGENT)[-1] == 5_000
    assert fleet[HTTP_AGENT].durable.failures == 0


def test_an_agent_that_was_given_up_waits_for_a_human_whatever_the_config_says() -> None:
    fleet = _failed_twice("a", 2)
    _mend(fleet, "a")
    assert fleet.state_of("a") is State.ESCALATED
