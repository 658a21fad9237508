"""The command `fleet` of the link to a real daemon: what it brings about, and who may send it."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.daemon.alert_receivers import told, until_delivered, webhook
from tests.daemon.harness import DEFAULTS, Daemon, Document, Refused
from tests.daemon.internal_harness import FLEET, HTTP, Channel
from tests.daemon.puppets import Puppet
from tests.sinks.receiver import Receiver

OTHER = "machine-3/orders"
WAITS = f'depends_on = ["{OTHER}"]'
# Long enough that nothing is given up while a test looks at it.
LINK = FLEET + 'ttl = "5m"\n[fleet.budget]\nusd_per_day = 10.0\n'
CALM = "[heartbeat]\nrequired = false\n"
UP = {"name": "machine-3", "state": "up", "agents": [{"name": "orders", "ready": True}]}
LOST = {
    "name": "machine-3",
    "state": "lost",
    "announce": True,
    "agents": [{"name": "orders"}, {"name": "refunds"}],
}


@contextlib.contextmanager
def linked(daemon: Daemon) -> Iterator[Channel]:
    """The channel of the link, once that runs."""
    daemon.until_state("agentd-fleet", "running")
    channel = Channel(daemon, "agentd-fleet")
    try:
        yield channel
    finally:
        channel.close()


def configured(daemon: Daemon, *more: str) -> None:
    daemon.configure(extra="\n".join((DEFAULTS, *more, LINK)))


def see(channel: Channel, *hosts: Document, **known: object) -> Document:
    return channel.ask("fleet", connected=True, hosts=hosts, **known)


def test_an_agent_waits_for_one_of_another_host(internal: Daemon) -> None:
    configured(internal)
    internal.sleeper("a", WAITS)
    internal.start()
    with linked(internal) as channel:
        assert internal.status("a")["blocked_by"] == [OTHER]
        assert see(channel)["depends_on"] == [OTHER]
        assert internal.status("a")["state"] == "stopped"
        see(channel, UP)
        shown = internal.until_state("a", "running")
        assert shown["blocked_by"] == []
        assert internal.ask("status")["fleet"]["up"] == ["machine-3"]
        channel.ask("fleet", connected=False)
        assert internal.ask("status")["fleet"]["connected"] is False


def test_a_lost_host_is_one_alert_by_its_own_key_also_over_a_crash(internal: Daemon) -> None:
    with Receiver() as receiver:
        configured(internal, webhook("ops", receiver.url))
        internal.sleeper("a")
        internal.start()
        with linked(internal) as channel:
            see(channel, LOST)
            see(channel, LOST)
        [alert] = receiver.wait_for(1, accepted=True)
        document = alert.json()
        assert document["dedup_key"] == "host.lost:machine-3"
        assert document["severity"] == "critical"
        until_delivered(internal, "ops")
        internal.crash()
        internal.start()
        with linked(internal) as channel:
            see(channel, LOST)
            [found] = internal.ask("incidents")["incidents"]
            assert (found["agent"], found["subject"], found["open"]) == (
                None,
                "host machine-3",
                True,
            )
            see(channel, UP)
        receiver.wait_for(2, accepted=True)
        names = [event["event"] for event in told(receiver)]
        assert names == ["host.lost", "host.back"]
        assert receiver.accepted()[-1].json()["dedup_key"] == "host.lost:machine-3"
        assert len(internal.events(kind="host.lost")) == 1


def test_the_fleet_s_budget_pauses_who_spends_and_a_resume_overrides_it(internal: Daemon) -> None:
    configured(internal)
    spender = Puppet(internal, "spender", CALM)
    internal.sleeper("quiet")
    internal.start()
    with contextlib.closing(spender), linked(internal) as channel:
        spender.appear().say({"tokens": 1, "cost_usd": 4.0})
        internal.until("spender", lambda one: one["cost_usd"]["day"] == 4.0)
        date = see(channel)["spent_usd_day"]["date"]
        spent = {"date": date, "others": 6.0, "hosts": 4}
        reply = see(channel, UP, spent_usd_day=spent)
        assert reply["spent_usd_day"] == {"date": date, "own": 4.0}
        assert reply["budget_usd_per_day"] == 10.0
        shown = internal.until_state("spender", "paused")
        assert shown["reason"] == "BUDGET_EXCEEDED"
        assert "fleet_usd_per_day" in shown["evidence"]
        assert internal.status("quiet")["state"] == "running"
        budget = internal.ask("status")["fleet"]["budget"]
        assert (budget["exceeded"], budget["used"], budget["limit"]) == (True, 10.0, 10.0)
        [row] = internal.ask("resume", select=["spender"])["agents"]
        assert "fleet_usd_per_day" in row["message"]
        see(channel, UP, spent_usd_day=spent)
        assert internal.status("spender")["state"] == "running"


def test_a_breaker_open_elsewhere_is_told_to_the_agents_that_use_it(internal: Daemon) -> None:
    configured(internal)
    caller = Puppet(internal, "caller", CALM)
    internal.start()
    with contextlib.closing(caller), linked(internal) as channel:
        caller.appear().ask({"type": "breaker", "name": "api", "ok": True})
        see(channel, UP, breakers=[{"host": "machine-3", "name": "api", "state": "open"}])
        steered = caller.control("steer")
        assert (steered["breaker"], steered["state"], steered["hosts"]) == (
            "api",
            "open",
            "machine-3",
        )
        [shown] = internal.ask("breakers")["breakers"]
        assert (shown["state"], shown["elsewhere"]) == ("closed", ["machine-3"])
        assert caller.ask({"type": "breaker.ask", "name": "api"})["allow"]


def test_nobody_but_the_link_may_send_it_and_it_is_checked(internal: Daemon) -> None:
    internal.configure(extra=f"{DEFAULTS}\n{HTTP}{LINK}")
    internal.start()
    with pytest.raises(Refused, match="fleet is for agentd-fleet alone"):
        internal.ask("fleet", connected=True)
    internal.until_state("agentd-http", "running")
    with contextlib.closing(Channel(internal, "agentd-http")) as other:
        assert other.refusal("fleet", connected=True) == "forbidden"
    with linked(internal) as channel:
        wrong: list[Document] = [
            {},
            {"connected": "yes"},
            {"connected": True, "hosts": [{"name": "<img src=x>", "state": "up"}]},
            {"connected": True, "hosts": [{"name": "m\n", "state": "up"}]},
            {"connected": True, "hosts": [{"name": "m", "state": "gone"}]},
            {"connected": True, "hosts": [{"name": "m", "state": "up", "agents": [{"name": "A"}]}]},
            {"connected": True, "spent_usd_day": {"others": -1.0}},
            {"connected": True, "spent_usd_day": {"others": 1.0, "hosts": 0}},
            {"connected": True, "spent_usd_day": {"date": "today"}},
        ]
        for args in wrong:
            assert channel.refusal("fleet", **args) == "bad_request", args
        assert see(channel)["depends_on"] == []
