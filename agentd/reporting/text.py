"""The report document as people read it: plain text, or Markdown. A day without news is a line."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

from agentd.reporting.words import duration, visible

Document = Mapping[str, Any]

LISTED_MAX: Final = 5
"""More outages or restarts of one agent are counted, not listed."""

NAMED_MAX: Final = 10
"""More agents of one kind are counted, not named."""

_MARKS: Final = frozenset("\\`*_[]<>|#~")
_CENT: Final = 0.01


def report_text(report: Document, zone: tzinfo) -> str:
    """Write the report as lines; times are those of the zone."""
    return "\n".join(_lines(report, zone, _Plain()))


def report_markdown(report: Document, zone: tzinfo) -> str:
    """Write the report as Markdown; whatever agents supplied stands there as it is."""
    return "\n".join(_lines(report, zone, _Marked()))


class _Plain:
    """Headings and lists for a terminal or a mail."""

    def title(self, text: str) -> Iterator[str]:
        yield text

    def heading(self, text: str) -> Iterator[str]:
        yield ""
        yield f"{text}:"

    def item(self, text: str) -> str:
        return f"  {text}"

    def foreign(self, text: object) -> str:
        return visible(str(text))


class _Marked:
    """The same as Markdown."""

    def title(self, text: str) -> Iterator[str]:
        yield f"**{text}**"

    def heading(self, text: str) -> Iterator[str]:
        yield ""
        yield f"### {text}"
        yield ""

    def item(self, text: str) -> str:
        return f"- {text}"

    def foreign(self, text: object) -> str:
        return "".join(f"\\{char}" if char in _MARKS else char for char in visible(str(text)))


def _lines(report: Document, zone: tzinfo, form: _Plain | _Marked) -> Iterator[str]:
    agents = report["agents"]
    yield from form.title(form.foreign(_title(report)))
    if report["ok"]:
        return
    needs = [(None, each) for each in report["needs_human"]]
    needs += [(agent["name"], each) for agent in agents for each in agent["needs_human"]]
    if needs:
        yield from form.heading("Needs you")
        yield from (form.item(_need(name, each, form)) for name, each in _worst_first(needs))
    if report["slow_problems"]:
        yield from form.heading("Slow problems")
        for each in report["slow_problems"]:
            yield form.item(f"{form.foreign(each['agent'])}: {form.foreign(each['message'])}")
    told = [(agent["name"], list(_day(agent, zone, form))) for agent in agents]
    if any(lines for _, lines in told):
        yield from form.heading("What happened")
        for name, lines in told:
            yield from (form.item(f"{form.foreign(name)}: {line}") for line in lines)
    yield from form.heading("In all")
    yield from (form.item(form.foreign(line)) for line in _totals(report))


def _title(report: Document) -> str:
    """One line: the whole report where all is well."""
    head = f"{report['date']}, {report['host']}"
    agents = report["agents"]
    if report["ok"]:
        if not agents:
            return f"{head}: nothing is known of that day, or there were no agents"
        told = "; ".join(_totals(report))
        return f"{head}: all is well, nothing needs you. {told[0].upper()}{told[1:]}"
    needing = len(
        {
            name
            for agent in agents
            for need in agent["needs_human"]
            for name in (agent["name"], *need.get("agents", ()))
        }
    )
    slow = len(report["slow_problems"])
    parts = []
    if needing:
        verb = "waits" if needing == 1 else "wait"
        parts.append(f"{_count(needing, 'agent')} of {max(needing, len(agents))} {verb} for you")
    if report["needs_human"]:
        parts.append("the host needs you")
    if slow:
        parts.append(_count(slow, "slow problem"))
    return f"{head}: {', '.join(parts) or 'nothing needs you; what happened got well by itself'}"


def _totals(report: Document) -> Iterator[str]:
    agents = [agent for agent in report["agents"] if _is_known(agent, report)]
    if not agents:
        yield "nothing is known of the agents that day"
        return
    alive = [agent for agent in agents if agent["alive_all_day"]]
    whole = "the whole day" if _is_whole(report) else "all the time so far"
    yield f"{len(alive)} of {_count(len(agents), 'agent')} alive {whole}"
    new = [agent["name"] for agent in agents if agent.get("new_since")]
    if new:
        yield f"new that day: {_named(new)}"
    resting = [agent["name"] for agent in agents if not agent["downs"] and agent["paused_s"]]
    if resting:
        yield f"at rest for a time: {_named(resting)}"
    restarts = sum(len(agent["restarts"]) for agent in agents)
    yield _count(restarts, "restart") if restarts else "no restart"
    tokens = sum(agent["cost"]["tokens"] for agent in agents)
    usd = sum(agent["cost"]["usd"] or 0 for agent in agents)
    known = all(agent["cost"]["known"] for agent in agents)
    yield f"{_tokens(tokens)}, {_dollars(usd, known=known)}"


def _is_known(agent: Document, report: Document) -> bool:
    """Whether anything is known of the agent's day; of some no more than an open incident is."""
    lasts = _moment(report["to"]) - _moment(report["from"])
    return bool(agent["cost"]["tokens"]) or agent.get("unknown_s", 0) < lasts.total_seconds()


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _is_whole(report: Document) -> bool:
    """Whether the day was over; 23 hours are the shortest one."""
    lasts = _moment(report["to"]) - _moment(report["from"])
    return lasts.total_seconds() >= 23 * 3_600


def _worst_first(
    needs: Sequence[tuple[str | None, Document]],
) -> list[tuple[str | None, Document]]:
    """Return each incident once, under its own agent; what follows from it is left out."""
    told = {each["incident"] for _, each in needs if each["kind"] == "incident"}
    kept = [(n, each) for n, each in needs if _stands_alone(each, told)]
    return sorted(kept, key=lambda need: need[1].get("severity", "critical") != "critical")


def _stands_alone(need: Document, told: set[int]) -> bool:
    return need["kind"] == "incident" or need["incident"] not in told


def _need(name: str | None, need: Document, form: _Plain | _Marked) -> str:
    told = f"{form.foreign(need['message'])} ({form.foreign(need['next'])})"
    more = len(need.get("agents", ())) - 1
    others = f" and {more} more" if more > 0 else ""
    who = "" if name is None else f"{form.foreign(name)}{others}: "
    number = need["incident"]
    return f"{who}{told}" if number is None else f"{who}incident {number}, open: {told}"


def _day(agent: Document, zone: tzinfo, form: _Plain | _Marked) -> Iterator[str]:
    """Yield what happened to one agent."""
    downs = agent["downs"]
    if downs:
        listed = ", ".join(
            f"{_clock(down['from'], zone)} for {duration(down['duration_s'])} ({down['reason']})"
            for down in downs[:LISTED_MAX]
        )
        more = f" and {len(downs) - LISTED_MAX} more" if len(downs) > LISTED_MAX else ""
        in_all = f"{duration(agent['downtime_s'])} in all: " if len(downs) > 1 else "at "
        yield f"down {in_all}{form.foreign(listed)}{more}"
    if agent["restarts"]:
        yield form.foreign(f"{_count(len(agent['restarts']), 'restart')}: {_reasons(agent)}")
    if agent["cooldowns"]:
        yield _count(len(agent["cooldowns"]), "cooldown")
    for each in agent["recovered"]:
        if agent["name"] in each.get("agents", ())[1:]:
            continue  # told under its first agent
        yield f"recovered by itself: {form.foreign(each['message'])}"
    for kind in ("loops", "budgets"):
        for each in agent[kind][:LISTED_MAX]:
            yield form.foreign(f"{_clock(each['time'], zone)} {each['event']}: {each['message']}")
        if len(agent[kind]) > LISTED_MAX:
            yield f"and {len(agent[kind]) - LISTED_MAX} more of these"
    if agent["cost"]["outside_baseline"]:
        yield form.foreign(_outside(agent["cost"]))


def _reasons(agent: Document) -> str:
    """Count the reasons of restarts, the most frequent first."""
    counts: dict[str, int] = {}
    for each in agent["restarts"]:
        counts[each["reason"]] = counts.get(each["reason"], 0) + 1
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason} {count}x" if count > 1 else reason for reason, count in ranked)


def _outside(cost: Document) -> str:
    """Say how far a cycle was from what it usually takes."""
    parts = []
    if cost["per_cycle"] is not None and cost["baseline"]:
        parts.append(
            f"{cost['per_cycle']:,.0f} tokens a cycle, usually {cost['baseline']:,.0f} "
            f"({cost['per_cycle'] / cost['baseline'] - 1:+.0%})".replace("%", " %")
        )
    if cost["usd_per_cycle"] is not None and cost["usd_baseline"]:
        parts.append(
            f"${cost['usd_per_cycle']:.4g} a cycle, usually ${cost['usd_baseline']:.4g} "
            f"({cost['usd_per_cycle'] / cost['usd_baseline'] - 1:+.0%})".replace("%", " %")
        )
    return f"outside its baseline: {'; '.join(parts)}"


# --- words and figures


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _tokens(tokens: int) -> str:
    return f"{tokens:,} tokens"


def _dollars(usd: float, *, known: bool) -> str:
    text = f"${usd:,.2f}" if usd >= _CENT or not usd else f"${usd:.4f}"
    if known:
        return text
    return f"at least {text}" if usd else "cost not known"


def _moment(time: str) -> datetime:
    return datetime.fromisoformat(time)


def _clock(time: str, zone: tzinfo) -> str:
    return f"{_moment(time).astimezone(zone):%H:%M}"
