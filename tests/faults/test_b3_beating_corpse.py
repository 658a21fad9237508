"""B3: heartbeats that come from a side thread while the work loop is dead."""

from tests.daemon.harness import PYTHON, Document
from tests.faults.guard import PROGRAMS, Fleet

SHORT = '[heartbeat]\nno_progress_after = "{bound}"\n[memory]\nsample = "200ms"\n'


def on_the_sdk(fleet: Fleet, what: str, bound: str = "2s") -> None:
    """Set up and start an agent of `programs/corpse.py`."""
    command = [PYTHON, str(PROGRAMS / "corpse.py"), what]
    fleet.agent(what, command, SHORT.format(bound=bound))
    fleet.start()


def degraded(fleet: Fleet, name: str) -> Document:
    """What was told, once it was."""
    fleet.until_true(lambda: fleet.events(name, "agent.degraded"))
    return fleet.events(name, "agent.degraded")[0]


def test_b3_a_thread_that_beats_over_a_hung_loop_is_degraded_with_evidence(fleet: Fleet) -> None:
    fleet.program("beside", "trouble", "beside", text=SHORT.format(bound="2s"))
    fleet.start()
    told = degraded(fleet, "beside")
    for word in ("no progress for", "bytes of I/O", "wait channel", "a thread beats over a dead"):
        assert word in told["message"], told["message"]
    assert (told["severity"], told["data"]["off_thread"]) == ("warning", True)
    assert told["data"]["heartbeats"] >= 5
    shown = fleet.status("beside")
    assert (shown["state"], shown["health"], shown["restarts"]) == ("running", "degraded", 0)
    assert shown["silence_s"] < 1  # it beats all the while
    assert "a thread beats over a dead loop" in shown["no_progress"]


def test_b3_the_sdk_marks_a_beat_of_another_thread_by_itself(fleet: Fleet) -> None:
    on_the_sdk(fleet, "hang")
    told = degraded(fleet, "hang")
    assert told["data"]["off_thread"] is True
    for word in ("task order-17", "step fetch"):
        assert word in told["message"], told["message"]


def test_b3_an_agent_that_works_beside_its_beating_thread_is_healthy(fleet: Fleet) -> None:
    on_the_sdk(fleet, "work", bound="1s")
    fleet.until("work", lambda shown: str(shown["step"]).isdigit() and int(shown["step"]) >= 15)
    assert not fleet.events("work", "agent.degraded")
    assert fleet.status("work")["health"] == "healthy"
