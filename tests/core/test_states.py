"""The table of states: what is legal, and that nothing else is."""

import pytest

from agentd.core.states import TRANSITIONS, IllegalTransition, State, Trigger, advance


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("trigger", Trigger)
def test_what_the_table_lacks_is_illegal(state: State, trigger: Trigger) -> None:
    if trigger in TRANSITIONS[state]:
        assert advance(state, trigger) is TRANSITIONS[state][trigger]
    else:
        with pytest.raises(IllegalTransition, match=f"{trigger} while {state}"):
            advance(state, trigger)


def test_every_state_can_be_left_and_reached() -> None:
    reached = {state for row in TRANSITIONS.values() for state in row.values()}
    assert reached == set(State)
    assert all(any(to is not state for to in row.values()) for state, row in TRANSITIONS.items())
