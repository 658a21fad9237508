"""What one sample means against a limit."""

import pytest

from agentd.config.agent import MemoryConfig
from agentd.config.units import Bytes
from agentd.core.events import Sampled
from agentd.core.memory import Memory

MIB = 1 << 20


@pytest.mark.parametrize(
    ("forecast_ms", "told"),
    [
        (None, "memory at 95 of 100 MiB"),
        (400, "memory at 95 of 100 MiB, full in about 1s"),
        (59_999, "memory at 95 of 100 MiB, full in about 59s"),
        (3_700_000, "memory at 95 of 100 MiB, full in about 1h1m"),
    ],
)
def test_a_forecast_is_told_no_finer_than_it_can_be_and_never_as_nothing(
    monkeypatch: pytest.MonkeyPatch, forecast_ms: int | None, told: str
) -> None:
    memory, config = Memory(), MemoryConfig(limit_bytes=Bytes(100 * MIB))
    memory.begin(config, 0)
    monkeypatch.setattr(Memory, "forecast_ms", lambda _self: forecast_ms)
    [news] = memory.observe(Sampled("a", 1, 95 * MIB), config, 1_000)
    assert (news.event, news.message) == ("memory.pressure", told)
    assert type(news.data["limit_bytes"]) is int
