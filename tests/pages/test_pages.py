"""The pages as pure functions: nothing foreign becomes an element, and changes add up."""

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.http import pages
from agentd.http.pages.judging import Group, judge
from agentd.http.pages.markup import VOID, tag
from tests.browser.stage import agent, incident, status

FOREIGN = st.text(max_size=40) | st.sampled_from(
    ["<img src=x onerror=alert(1)>", '"><script>x</script>', "&lt;b&gt;", "\x1b[2J", "{}", "'"]
)
HAND = "Nothing needs you. 1 of 2 agents is in hand."
OPERATOR = pages.Context(role="operator", csrf="c")
WORDS = (
    *("name", "task", "step", "tool", "goal", "status", "description", "evidence", "reason"),
    *("intent_by", "intent_reason", "held_why", "no_progress", "state", "health"),
)


class Elements(HTMLParser):
    """Counts elements and their attributes by name, and notes what is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(f"{name} {sorted(key for key, _ in attrs)}")
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name


def elements(html: str) -> list[str]:
    parser = Elements()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return parser.found


@st.composite
def foreign_agents(draw: st.DrawFn) -> dict[str, Any]:
    words = {word: draw(FOREIGN.filter(bool)) for word in WORDS}
    call = {"label": draw(FOREIGN.filter(bool)), "open_s": 3.0, "left_s": 9.0}
    tags = draw(st.lists(FOREIGN.filter(bool), min_size=1, max_size=2))
    return agent("x", **words, open_call=call, tags=tags, depends_on=["y"], blocked_by=["y"])


@given(foreign_agents())
@settings(max_examples=30)
def test_l11_foreign_text_never_makes_an_element(document: dict[str, Any]) -> None:
    """A fleet of strange words has the very elements of a fleet of plain ones."""
    plain = {**document, **dict.fromkeys(WORDS, "w"), "tags": ["t"]}
    plain["open_call"] = {"label": "w", "open_s": 3.0, "left_s": 9.0}
    plain["health"] = document["health"] = "healthy"
    plain["state"] = document["state"] = "running"
    for page in (
        lambda each: pages.fleet(OPERATOR, status(each), []),
        lambda each: pages.agent(OPERATOR, status(each), each["name"], pages.Shown(logs=["a"])),
    ):
        assert elements(page(document)) == elements(page(plain))


@given(FOREIGN, FOREIGN)
def test_l11_a_text_stands_where_it_was_put(text: str, value: str) -> None:
    found = elements(tag("p", text, title=value))
    assert found == ["p ['title']"]


@settings(max_examples=30)
@given(st.lists(st.lists(foreign_agents(), max_size=3), min_size=2, max_size=4))
def test_changes_add_up_to_the_whole(worlds: list[list[dict[str, Any]]]) -> None:
    """Whoever puts the changes into what it had knows what a newcomer is told."""
    before, held = None, {}
    for world in worlds:
        after = pages.live(OPERATOR, status(*world), [])
        told = pages.changes(before, after)
        for key in told["removed"]:
            del held[key]
        held.update(told["rows"])
        assert held == pages.changes(None, after)["rows"]
        before = after


@pytest.mark.parametrize(
    ("changes", "open_incident", "group"),
    [
        ({}, None, Group.FINE),
        ({"health": "degraded"}, None, Group.HAND),
        ({"state": "starting", "health": "unknown"}, None, Group.HAND),
        ({"state": "escalated", "health": "unreachable"}, None, Group.NEEDS),
        ({"health": "unreachable"}, None, Group.NEEDS),
        # It waits for another one, and will start by itself.
        ({"health": "unreachable", "cooldown_s": 9.0}, None, Group.HAND),
        ({"state": "starting", "health": "unknown", "blocked_by": ["b"]}, None, Group.HAND),
        ({"intent": "killed", "state": "stopped", "health": "killed"}, None, Group.REST),
        ({"intent": "paused", "state": "paused", "health": "unknown"}, None, Group.REST),
        ({"state": "completed", "health": "unknown"}, None, Group.REST),
        ({}, {"severity": "critical"}, Group.NEEDS),
        ({"intent": "paused", "state": "paused"}, {"severity": "critical"}, Group.NEEDS),
        ({}, {"severity": "warning"}, Group.HAND),
        ({}, {"severity": "critical", "acknowledged_by": "ada"}, Group.HAND),
        # One trouble of many agents is shown once, with the one that it began with.
        ({}, {"severity": "critical", "agent": "b"}, Group.HAND),
    ],
)
def test_what_needs_you_and_what_does_not(
    changes: dict[str, Any], open_incident: dict[str, Any] | None, group: Group
) -> None:
    found = None if open_incident is None else incident(5, "a", **{"agent": "a", **open_incident})
    number = None if found is None else 5
    assert judge(agent("a", **changes, open_incident=number), found).group is group


@pytest.mark.parametrize(
    ("agents", "daemon", "told"),
    [
        ([agent("a"), agent("b")], {}, "All 2 agents are fine."),
        ([agent("a", health="degraded"), agent("b")], {}, HAND),
        ([agent("a", state="escalated", health="unreachable")], {}, "1 of 1 agent needs you."),
        ([agent("a")], {"storage": "full"}, "agentd can't write its state: full."),
        ([], {}, "There are no agents yet."),
    ],
)  # fmt: skip
def test_the_headline(agents: list[dict[str, Any]], daemon: dict[str, str], told: str) -> None:
    view = pages.live(OPERATOR, status(*agents, **daemon), [])
    assert view.rows[":page"].slots["headline"].text == told


@pytest.mark.parametrize(
    ("agents", "found", "told", "title"),
    [
        ([{}] * 3, [{}], "1 incident needs you.", "1 needs you"),
        ([{}], [{}, {"severity": "warning"}], "1 incident needs you.", "1 needs you"),
        ([{}], [{}, {}], "2 incidents need you.", "2 need you"),
        ([{"state": "escalated"}, {}], [{}], "1 of 2 agents and 1 incident need you.",
         "2 need you"),
        ([], [{}], "1 incident needs you.", "1 needs you"),
        ([{}], [{"acknowledged_by": "ada"}], "Nothing needs you. 1 incident is in hand.",
         "in hand"),
        ([{"health": "degraded"}], [{"severity": "warning"}],
         "Nothing needs you. 1 of 1 agent and 1 incident are in hand.", "in hand"),
        ([{}], [], "The one agent is fine.", "fine"),
    ],
)  # fmt: skip
def test_an_incident_of_no_agent_is_in_the_headline_the_counts_and_the_tab(
    agents: list[dict[str, Any]], found: list[dict[str, Any]], told: str, title: str
) -> None:
    """A fault of the daemon, a budget of the fleet: the page is not green while one is open."""
    shown = status(*(agent(f"a{place}", **each) for place, each in enumerate(agents)))
    incidents = [incident(7 + place, None, **each) for place, each in enumerate(found)]
    page = pages.live(OPERATOR, shown, incidents).rows[":page"]
    assert page.slots["headline"].text == told
    assert page.data["title"] == f"{title} · stage"
    assert ("good" in page.tone) is (title == "fine")
    assert ("incident 7" in page.slots["detail"].text) is bool(found)
    in_groups = sum(int(page.slots[f"count_{group}"].text) for group in Group)
    assert in_groups == len(agents) + len(found)
    html = pages.fleet(OPERATOR, shown, incidents)
    assert f">{told}</h1>" in html
    assert f"<title>{title} · stage</title>" in html
    assert ("/static/good.svg" in html) is (title == "fine")


def test_the_incident_of_a_lost_host_is_not_told_as_one_beside_it() -> None:
    hosts = (pages.HostView("stage", "up"), pages.HostView("machine-3", "lost"))
    of_the_host = incident(7, None, subject="host machine-3")
    for found, told in (
        ([of_the_host], "machine-3 is lost."),
        ([of_the_host, incident(8, None, subject="daemon fault")],
         "machine-3 is lost; 1 incident beside needs you."),
    ):  # fmt: skip
        view = pages.live(pages.Context(hosts=hosts), status(agent("b")), found)
        assert view.rows[":page"].slots["headline"].text == told


def test_a_lost_host_is_never_shown_as_well() -> None:
    """Its agents were healthy when it was last heard of; nobody knows how they are now."""
    lost = pages.HostView(
        "machine-3", "lost", "2026-11-21T07:59:30.000Z", {**status(agent("a")), "host": "machine-3"}
    )
    here = pages.HostView("stage", "up", status=status(agent("b")))
    context = pages.Context(role="operator", hosts=(here, lost))
    view = pages.live(context, status(agent("b")), [])
    assert view.rows[":page"].slots["headline"].text == "machine-3 is lost."
    row = view.rows["machine-3/a"]
    assert row.slots["health"].text == "unknown"
    assert {slot.tone for slot in row.slots.values()} <= {"", "bad"}
    assert not any(slot.share or slot.since_ms for slot in row.slots.values())
    assert (row.group, row.verbs) == (Group.HAND, ())
    assert view.rows["stage/b"].group == Group.FINE
    assert view.rows["stage/b"].data["host"] == "stage"


def test_what_was_heard_before_is_not_shown_as_well_while_the_fleet_is_away() -> None:
    away = pages.HostView(
        "machine-3", "up", status={**status(agent("a")), "host": "machine-3"}, error="not connected"
    )
    here = pages.HostView("stage", "up", status=status(agent("b")), error="not connected")
    view = pages.live(pages.Context(hosts=(here, away)), status(agent("b")), [])
    assert view.rows[":page"].slots["headline"].text == "Nothing is heard of machine-3."
    assert view.rows["machine-3/a"].slots["health"].text == "unknown"
    assert view.rows["host:machine-3"].slots["agents"].text == "not known"
    assert view.rows["stage/b"].group == Group.FINE


@pytest.mark.parametrize(
    "odd",
    [{"cooldown_s": "soon"}, {"budgets": [{"used": 1, "limit": "x"}]}, {"tags": 1}],
)
def test_a_status_that_makes_no_sense_costs_its_own_host_alone(odd: dict[str, Any]) -> None:
    foreign = {**status(agent("a")), "host": "machine-3"}
    foreign["agents"][0] |= odd
    here = pages.HostView("stage", "up", status=status(agent("b")))
    context = pages.Context(hosts=(here, pages.HostView("machine-3", "up", status=foreign)))
    view = pages.live(context, status(agent("b")), [])
    assert view.rows["stage/b"].group == Group.FINE
    assert view.rows["host:machine-3"].slots["error"].text == "its status makes no sense"
    assert view.rows[":page"].tone == "bad"


def test_a_sparkline_has_gaps_where_nothing_is_known() -> None:
    drawn = pages.spark("memory", {"rss_bytes": [1, 2, None, 3, 4]}, "memory of <a>")
    svg = ET.fromstring(drawn)  # noqa: S314 - made here
    lines = [path for path in svg if path.get("fill") == "none"]
    assert len(lines) == 2
    assert svg[0].text == "memory of <a>: 1B to 4B, 4B now"


@pytest.mark.parametrize("series", [None, {}, {"rss_bytes": []}, {"rss_bytes": [None, None, 7]}])
def test_a_sparkline_of_nothing_is_empty(series: dict[str, Any] | None) -> None:
    svg = ET.fromstring(pages.spark("memory", series, "memory"))  # noqa: S314 - made here
    assert [child.tag.rpartition("}")[2] for child in svg] == ["title"]
