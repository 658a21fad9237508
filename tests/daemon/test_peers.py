import os
from dataclasses import dataclass, field, replace

import pytest

from agentd.daemon.peers import Access, Credentials, Role, base_role, judge
from agentd.daemon.procfs import Stat, parse_stat
from agentd.daemon.registry import Incarnation, Registry, token_digest

DAEMON, DAEMON_UID = 100, 900
AGENT_UID, OPERATORS, VIEWERS = 1001, 50, 51
ACCESS = Access(DAEMON_UID, DAEMON, OPERATORS, VIEWERS, frozenset({AGENT_UID}), "/run/a.sock")


@dataclass
class World:
    """/proc of a small host: pid -> (parent, age), cgroups and environments."""

    parents: dict[int, tuple[int, int]] = field(
        default_factory=lambda: {1: (0, 0), DAEMON: (1, 10), 200: (1, 20), 201: (200, 30)}
    )
    cgroups: dict[int, str | None] = field(default_factory=dict)
    environs: dict[int, dict[bytes, bytes] | None] = field(default_factory=dict)

    def stat_of(self, pid: int, /) -> Stat | None:
        if pid not in self.parents:
            return None
        parent, start_time = self.parents[pid]
        return Stat(pid, "x", "S", parent, 0, 0, start_time)

    def cgroup_of(self, pid: int, /) -> str | None:
        return self.cgroups.get(pid, "/user.slice")

    def environ(self, pid: int, /) -> dict[bytes, bytes] | None:
        return self.environs.get(pid, {})


A = Incarnation("a", 1, "a1", "token-a", leader_pid=300, cgroup="/agents/a1", uid=AGENT_UID)


def registry() -> Registry:
    made = Registry()
    made.cgroup_root = "/agents"
    made.add(A)
    return made


def world(**changes: object) -> World:
    made = World()
    made.parents |= {300: (DAEMON, 40), 301: (300, 50), 302: (301, 60)}
    return replace(made, **changes)  # type: ignore[arg-type]


ROOT = Credentials(201, 0, 0)
OWN = Credentials(201, DAEMON_UID, 1)
OPERATOR = Credentials(201, 5000, 5000, frozenset({5000, OPERATORS}))
VIEWER = Credentials(201, 5001, 5001, frozenset({5001, VIEWERS}))
STRANGER = Credentials(201, 6000, 6000)


@pytest.mark.parametrize(
    ("credentials", "role"),
    [
        (ROOT, Role.OPERATOR),
        (OWN, Role.OPERATOR),
        (OPERATOR, Role.OPERATOR),
        (VIEWER, Role.VIEWER),
        (STRANGER, Role.NONE),
    ],
)
def test_who_connects_from_elsewhere_has_the_role_of_uid_and_groups(
    credentials: Credentials, role: Role
) -> None:
    assert base_role(credentials, ACCESS) is role
    assert judge(credentials, ACCESS, registry(), world()).role is role


@pytest.mark.parametrize("credentials", [ROOT, OWN, OPERATOR, VIEWER, STRANGER])
@pytest.mark.parametrize("pid", [300, 301, 302])
def test_c10_whoever_descends_from_an_agent_is_that_agent_root_or_not(
    credentials: Credentials, pid: int
) -> None:
    peer = judge(replace(credentials, pid=pid), ACCESS, registry(), world())
    assert (peer.role, peer.incarnation) == (Role.AGENT, A)


@pytest.mark.parametrize("path", ["/agents/a1", "/agents/a1/deeper/still"])
def test_l14_who_leaves_the_tree_is_still_in_the_cgroup(path: str) -> None:
    peer = judge(ROOT, ACCESS, registry(), world(cgroups={201: path}))
    assert (peer.role, peer.incarnation) == (Role.AGENT, A)


def test_a_cgroup_with_a_similar_name_is_another() -> None:
    found = judge(ROOT, ACCESS, registry(), world(cgroups={201: "/agents-of-others/a1"}))
    assert found.role is Role.OPERATOR


def test_an_unknown_cgroup_among_the_agents_caps_the_role() -> None:
    peer = judge(ROOT, ACCESS, registry(), world(cgroups={201: "/agents/left-over"}))
    assert (peer.role, peer.incarnation) == (Role.AGENT, None)


@pytest.mark.parametrize("credentials", [ROOT, OWN, OPERATOR])
def test_the_daemon_and_its_helpers_are_never_operators(credentials: Credentials) -> None:
    helpers = world()
    helpers.parents |= {400: (DAEMON, 70), 401: (400, 80)}
    for pid in (DAEMON, 400, 401):
        peer = judge(replace(credentials, pid=pid), ACCESS, registry(), helpers)
        assert (peer.role, peer.incarnation) == (Role.AGENT, None)


def test_a_stranger_below_the_daemon_is_no_more_than_a_stranger() -> None:
    helpers = world()
    helpers.parents |= {400: (DAEMON, 70)}
    peer = judge(replace(STRANGER, pid=400), ACCESS, registry(), helpers)
    assert peer.role is Role.NONE


def token_in(pid: int, token: bytes = b"token-a", **more: bytes) -> World:
    environ = {b"AGENTD_TOKEN": token, **{k.encode(): v for k, v in more.items()}}
    return world(environs={pid: environ})


@pytest.mark.parametrize("pid", [201, 200])  # 200: the peer was started with `env -i`
def test_l14_a_token_in_the_environment_tells_whose_child_it_is(pid: int) -> None:
    peer = judge(ROOT, replace(ACCESS, daemon_uid=0), registry(), token_in(pid))
    assert (peer.role, peer.incarnation) == (Role.AGENT, A)


def test_a_token_that_was_ever_issued_caps_the_role() -> None:
    ended = registry()
    ended.end("a", 1)
    peer = judge(OWN, ACCESS, ended, token_in(201))
    assert (peer.role, peer.incarnation) == (Role.AGENT, None)
    retired = Registry()
    retired.retire([token_digest("token-old")])
    assert judge(OWN, ACCESS, retired, token_in(201, b"token-old")).role is Role.AGENT


def test_a_token_nobody_remembers_caps_the_role_where_it_names_our_socket() -> None:
    unknown = token_in(201, b"?", AGENTD_SOCKET=b"/run/a.sock")
    assert judge(OWN, ACCESS, Registry(), unknown).role is Role.AGENT
    elsewhere = token_in(201, b"?", AGENTD_SOCKET=b"/run/other.sock")
    assert judge(OWN, ACCESS, Registry(), elsewhere).role is Role.OPERATOR


def test_l14_a_command_of_the_configuration_that_outlived_its_daemon_is_no_operator() -> None:
    left = world(environs={200: {b"AGENTD_AGENT": b"a"}})
    peer = judge(OWN, ACCESS, Registry(), left)
    assert (peer.role, peer.incarnation) == (Role.AGENT, None)
    of_an_alert = world(environs={201: {b"AGENTD_AGENT": b""}})
    assert judge(OWN, ACCESS, Registry(), of_an_alert).role is Role.AGENT


def test_a_leaked_token_makes_nobody_of_another_user_that_agent() -> None:
    peer = judge(OWN, ACCESS, registry(), token_in(201))
    assert (peer.role, peer.incarnation) == (Role.AGENT, None)


@pytest.mark.parametrize(
    ("credentials", "role"),
    [
        (OWN, Role.NONE),  # ours to read, so hiding it means something
        (Credentials(201, AGENT_UID, 1), Role.NONE),
        (OPERATOR, Role.OPERATOR),  # a daemon without root can't read it anyhow
        (VIEWER, Role.VIEWER),
    ],
)
def test_an_environment_that_hides_costs_the_role_of_those_it_is_asked_of(
    credentials: Credentials, role: Role
) -> None:
    hidden = world(environs={201: None})
    assert judge(credentials, ACCESS, registry(), hidden).role is role


def test_a_user_that_agents_run_as_is_an_agent_unless_an_operator_by_itself() -> None:
    plain = Credentials(201, AGENT_UID, 1)
    assert judge(plain, ACCESS, registry(), world()).role is Role.AGENT
    viewing = replace(plain, groups=frozenset({VIEWERS}))
    assert judge(viewing, ACCESS, registry(), world()).role is Role.AGENT
    operating = replace(plain, groups=frozenset({OPERATORS}))
    assert judge(operating, ACCESS, registry(), world()).role is Role.OPERATOR


@pytest.mark.parametrize("credentials", [ROOT, OWN, OPERATOR, VIEWER])
def test_on_doubt_a_peer_gets_less(credentials: Credentials) -> None:
    gone = replace(credentials, pid=999)
    other_namespace = replace(credentials, pid=0)
    assert judge(gone, ACCESS, registry(), world()).role is Role.NONE
    assert judge(other_namespace, ACCESS, registry(), world()).role is Role.NONE
    assert judge(credentials, ACCESS, registry(), world(cgroups={201: None})).role is Role.NONE


def test_a_parent_younger_than_its_child_is_a_stranger_under_that_pid() -> None:
    reused = world()
    reused.parents[200] = (1, 35)  # began after 201 did
    assert judge(ROOT, ACCESS, registry(), reused).role is Role.NONE


def test_a_tree_deeper_than_any_honest_one_is_a_doubt() -> None:
    deep = world()
    deep.parents |= {pid: (pid - 1, pid) for pid in range(1001, 1700)} | {1000: (1, 30)}
    assert judge(replace(ROOT, pid=1699), ACCESS, registry(), deep).role is Role.NONE
    assert judge(replace(ROOT, pid=1300), ACCESS, registry(), deep).role is Role.OPERATOR


def test_d14_a_process_named_like_a_stat_line_is_read_right() -> None:
    fields = b"S 7 8 9 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 12345" + b" 0" * 30
    stat = parse_stat(b"42 (a) R 1 2) " + fields + b"\n")
    assert (stat.comm, stat.ppid, stat.start_time) == ("a) R 1 2", 7, 12345)


def test_the_pid_of_an_ended_leader_names_nobody() -> None:
    ended = registry()
    ended.end("a", 1)
    free = world()
    free.parents[300] = (1, 90)  # reused by a stranger
    assert judge(replace(ROOT, pid=300), ACCESS, ended, free).role is Role.OPERATOR


def test_access_is_of_this_process_by_default() -> None:
    assert (Access().daemon_pid, Access().daemon_uid) == (os.getpid(), os.geteuid())
