"""agentctl heartbeat: the beat of an agent that is written as a shell script."""

import os
from math import isfinite
from pathlib import Path
from typing import Any

import click

from agentd.cli.exits import FAILED, CommandError
from agentd.cli.invocation import Invocation
from agentd.cli.lazy import HintedUsageError
from agentd.cli.options import Duration

STATUSES = (
    "ok",
    "working",
    "idle",
    "waiting_llm",
    "waiting_tool",
    "waiting_human",
    "shutting_down",
    "draining",
    "error",
    "done",
)


class Amount(click.FloatRange):
    """A number that is one: not negative, and neither `nan` nor `inf`."""

    name = "amount"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click hands over whatever was typed
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        amount = float(super().convert(value, param, ctx))
        if not isfinite(amount):
            self.fail(f"{value} is no amount", param, ctx)
        return amount


@click.command("heartbeat")
@click.option("--status", type=click.Choice(STATUSES), help="What it is doing.")
@click.option("--tokens", type=click.IntRange(min=0), help="Tokens of this cycle.")
@click.option("--input-tokens", type=click.IntRange(min=0), help="Of them read by the model.")
@click.option("--output-tokens", type=click.IntRange(min=0), help="Of them written by it.")
@click.option("--cost-usd", type=Amount(), help="Cost of this cycle.")
@click.option("--model", help="The model that was used.")
@click.option("--provider", help="Who runs that model.")
@click.option("--success/--failure", default=None, help="How one task ended.")
@click.option("--successes", type=click.IntRange(min=0), help="Tasks since the last beat.")
@click.option("--failures", type=click.IntRange(min=0), help="Failed tasks since then.")
@click.option("--latency-ms", type=Amount(), multiple=True, help="Of each task.")
@click.option("--task", help="The task it works on.")
@click.option("--step", help="The step of that task.")
@click.option("--tool", help="The tool it uses.")
@click.option("--goal", help="What it is after.")
@click.option("--progress", metavar="0..1|DONE/TOTAL", help="How far it has come.")
@click.option("--silence", "silence_s", type=Duration(), help="Expect no beat for so long.")
@click.option(
    "--retry-after", "retry_after_s", type=Duration(), help="The provider said: not before."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="Who it is, for an agent that agentd didn't start.",
)
@click.pass_obj
def command(call: Invocation, /, token_file: Path | None, **said: Any) -> None:  # noqa: ANN401 - click's
    """Send one heartbeat from inside an agent, and return once the daemon has taken it.

    What isn't said is unknown, never zero.
    """
    reply = call.client.heartbeat(fields(said), token_of(token_file, os.environ))
    if call.json:
        call.print_json(reply)


def token_of(path: Path | None, env: "os._Environ[str] | dict[str, str]") -> str | None:
    """Return what proves who speaks; None leaves that to the process tree."""
    if path is None:
        return env.get("AGENTD_TOKEN")
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(FAILED, f"cannot read the token in {path}: {error}") from None


def fields(said: dict[str, Any]) -> dict[str, object]:
    """Make the fields of the line (CONTRACT 5.1) from the options that were given."""
    line = {name: value for name, value in said.items() if value not in {None, ()}}
    usage = {name: line.pop(name) for name in ("input_tokens", "output_tokens") if name in line}
    if usage:
        line["usage"] = usage
    if "latency_ms" in line:
        line["latency_ms"] = list(line["latency_ms"])
    if "progress" in line:
        line["progress"] = progress(line["progress"])
    return line


def progress(text: str) -> float | dict[str, float]:
    """Read `0.3` or `3/10`."""
    done, slash, total = text.partition("/")
    try:
        read = [float(part) for part in ((done, total) if slash else (done,))]
    except ValueError:
        read = []
    if not read or not all(map(isfinite, read)):
        message = f"{text!r} is no progress"
        raise HintedUsageError(message, "write --progress 0.3 or --progress 3/10")
    return {"done": read[0], "total": read[1]} if slash else read[0]
