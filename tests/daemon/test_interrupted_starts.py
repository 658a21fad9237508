"""A start that was cut off: what a later daemon says of it depends on what anybody has seen."""

import pytest

from agentd.core.records import Durable
from agentd.core.states import State
from agentd.daemon.adoption import Found
from agentd.daemon.launch import GATE_SHUT
from agentd.daemon.pidfds import Ending
from tests.daemon.recoveries import recovery_of


@pytest.mark.parametrize(
    ("found", "spawned_at_ms", "ended"),
    [
        (Found("gone", "nobody saw how it ended"), None, False),
        (Found("gone", "its gate shut", ending=Ending(code=GATE_SHUT)), None, False),
        # Somebody saw it run, or how it ended: that was an end.
        (Found("gone", "nobody saw how it ended"), 5, True),
        (Found("gone", "pid 7 is a zombie", ending=Ending(code=3)), None, True),
        (Found("gone", "the host was rebooted since", rebooted=True), None, True),
        # It may live.
        (Found("unidentifiable", "pid 7 may be it"), None, True),
    ],
)
def test_g2_inv7_a_start_that_nobody_saw_is_no_end(
    found: Found, spawned_at_ms: int | None, *, ended: bool
) -> None:
    durable = Durable(
        state=State.STARTING, incarnation=1, incarnation_id="run", spawned_at_ms=spawned_at_ms
    )
    recovery = recovery_of(durable)
    recovery.found["a"] = found
    assert recovery.adopt(["a"]).fates["a"].ended is ended
