"""What the pressure on an agent says of why it is late."""

import pytest

from agentd.daemon.pressure import memory_words


def stalls(some: float) -> dict[str, object]:
    return {"some": {"avg10": some, "avg60": 1.0, "total": 5.0}}


@pytest.mark.parametrize(
    ("pressure", "told"),
    [
        ({"memory": stalls(87.4)}, "waits for memory 87 % of the time"),
        ({"memory": stalls(19.9)}, ""),
        ({"host_memory": stalls(90.0), "cpu": stalls(90.0)}, ""),
        ({"memory": {}}, ""),
        ({}, ""),
    ],
)
def test_e8_what_an_agent_waits_for_is_named_when_it_is_its_own_memory(
    pressure: dict[str, object], told: str
) -> None:
    assert memory_words(pressure) == told
