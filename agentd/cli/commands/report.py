"""agentctl report: what a day was like, and which slow problems there are."""

from typing import Any

import click

from agentd.cli.invocation import Invocation


@click.command("report")
@click.option("--date", metavar="DATE", help="2026-11-20, today or yesterday.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@click.pass_obj
def command(call: Invocation, /, *, date: str | None, markdown: bool) -> None:
    """Show the daily report, of the last whole day if no date is given."""
    if markdown and call.json:
        raise click.UsageError("--json and --markdown: one of them")
    if date is not None and not date.strip():
        raise click.UsageError("--date is empty: 2026-11-20, today or yesterday")
    call.answer(call.client.report(date), lambda shown: told(shown, markdown=markdown))


def told(document: dict[str, Any], *, markdown: bool) -> str:
    """Write the report as text, or as Markdown."""
    from agentd.reporting import text  # noqa: PLC0415 - not for `--json`
    from agentd.reporting.zones import zone_named  # noqa: PLC0415 - as above

    zone = zone_named(document["timezone"])
    shown = text.report_markdown if markdown else text.report_text
    return shown(document, zone)
