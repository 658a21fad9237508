from agentd.core.effects import Spawn
from agentd.daemon.processes import Prepared
from agentd.daemon.registry import RETIRED_MAX, Incarnation, Registry
from agentd.store.rows import Outcome
from tests.daemon.starting import starts_with


def incarnation(ordinal: int = 1, **facts: object) -> Incarnation:
    return Incarnation("a", ordinal, f"a{ordinal}", f"token-{ordinal}", **facts)  # type: ignore[arg-type]


def test_an_incarnation_is_found_by_token_leader_cgroup_and_pidfd() -> None:
    registry, one = Registry(), incarnation(leader_pid=7, cgroup="/x/a1", leader_inode=99)
    registry.add(one)
    assert registry.by_token("token-1") is one
    assert registry.by_token("token-2") is None
    assert registry.by_leader(7) is one
    assert registry.by_cgroup("/x/a1/inner") is one
    assert registry.by_cgroup("/x/a11") is None
    assert registry.by_leader_inode(99) is one
    assert registry.is_live(one)


def test_one_that_ended_is_found_by_its_cgroup_alone() -> None:
    registry, one = Registry(), incarnation(leader_pid=7, cgroup="/x/a1", leader_inode=99)
    registry.add(one)
    registry.end("a", 1)
    assert not registry.is_live(one)
    assert registry.by_token("token-1") is None
    assert registry.was_issued("token-1")
    assert registry.by_leader(7) is None
    assert registry.by_leader_inode(99) is None
    assert registry.by_cgroup("/x/a1") is one
    registry.remove("a", 1)
    assert registry.by_cgroup("/x/a1") is None
    assert registry.was_issued("token-1")
    assert list(registry) == []


def test_the_end_is_told_while_it_may_still_speak_and_once() -> None:
    registry, one, seen = Registry(), incarnation(), []
    registry.on_end(lambda ending: seen.append((ending, registry.is_live(ending))))
    registry.add(one)
    registry.remove("a", 1)
    registry.remove("a", 1)
    registry.end("a", 9)
    assert seen == [(one, True)]


def test_the_successor_of_a_pid_is_not_forgotten_with_it() -> None:
    registry = Registry()
    registry.add(incarnation(1, leader_pid=7))
    two = incarnation(2, leader_pid=7)
    registry.add(two)
    registry.remove("a", 1)
    assert registry.by_leader(7) is two


def test_an_external_agent_may_change_its_token() -> None:
    registry = Registry()
    registry.add(Incarnation("x", 0, "", "old-token"))
    registry.add(Incarnation("x", 0, "", "new-token"))
    assert registry.by_token("old-token") is None
    assert registry.was_issued("old-token")
    found = registry.by_token("new-token")
    assert found is not None
    assert found.external


def test_tokens_do_not_show_in_logs() -> None:
    assert "token-1" not in repr(incarnation())


def test_retired_tokens_are_bounded() -> None:
    registry = Registry()
    registry.retire(number.to_bytes(4) for number in range(RETIRED_MAX + 10))
    assert len(registry._retired) == RETIRED_MAX


def test_a_started_leader_is_known_by_its_pidfd_even_when_it_has_been_reaped() -> None:
    released: list[Prepared] = []
    starts = starts_with(released, submit=lambda _, done: done(Outcome()))
    prepared = Prepared("a", 1, "a-1", 7, 9, 1234, 99, "boot", "", "token", 0)
    starts._go_on(Spawn("a", 1, "a-1", "autostart"), prepared)
    known = starts.registry.by_leader_inode(99)
    assert known is not None
    assert (known.agent, released) == ("a", [prepared])
