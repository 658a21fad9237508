"""A stock-keeping agent on pydantic-ai, in asyncio, supervised by agentd.

One cycle is one run of the agent: it looks at a shelf, orders what is missing, reports.
pydantic-ai has hooks for models and tools; one class there tells agentd all it needs.
OPENAI_BASE_URL names the provider; examples/stub_model.py is one for trying, with troubles.
TROUBLE=crash_in_action makes this agent die in the middle of its first order.
"""

import asyncio
import os
import signal
import sys
import time
from itertools import count
from pathlib import Path
from zlib import crc32

import openai
from pydantic_ai import Agent, RunContext, UsageLimits
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import ModelRequest, SystemPromptPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import agentd

MODEL = os.environ.get("MODEL", "stub-1")
CYCLES = int(os.environ.get("CYCLES", "0"))  # 0: for ever
PAUSE_S = float(os.environ.get("PAUSE_S", "1"))
# How long one answer may take. Told to agentd, which judges us by it even while we hang.
CALL_DEADLINE_S = float(os.environ.get("CALL_DEADLINE_S", "60"))
LIMITS = UsageLimits(request_limit=30)  # for one shelf: a model may get lost
LEDGER = Path(os.environ.get("LEDGER", "state/orders"))  # stands for the wholesaler
TROUBLE = os.environ.get("TROUBLE", "")
LEFT_OPEN = agentd.unfinished()  # what was in flight when the last incarnation died
GOODS = ("flour", "rice", "tea", "olives", "candles", "soap", "honey", "matches")
STATES = ("is running low", "was dropped", "sells well", "has gone off", "is where it should be")


class Watched(AbstractCapability):
    """Each request of a model is an open call with agentd, each use of a tool a step."""

    async def wrap_model_request(self, _, *, request_context, handler):
        if (word := agentd.control()) and word["action"] == "steer":
            print(f"agentd says: {word['message']}", flush=True)
            told = ModelRequest(parts=[SystemPromptPart(word["message"])])
            request_context.messages.append(told)
        about = {"provider": "openai", "model": MODEL, "deadline_s": CALL_DEADLINE_S}
        with agentd.call("chat", **about) as call:
            reply = await handler(request_context)
            call.usage(reply)  # counted at once: a budget needs no heartbeat
        return reply

    async def wrap_tool_execute(self, _, *, tool_def, args, handler, **_others):
        with agentd.step(tool_def.name, tool=tool_def.name, args=args) as step:
            found = await handler(args)
            step.output(found)  # only fingerprints leave this process
        return found


async def look_at(shelf: str) -> str:
    """Say what is on a shelf."""
    seen = crc32(shelf.encode())
    return f"The {GOODS[seen % 8]} {STATES[seen // 8 % 5]}, beside the {GOODS[seen // 40 % 8]}."


async def order(context: RunContext[str], what: str) -> str:
    """Order what is missing."""
    await place(f"order:{context.deps}")
    return f"ordered for {what}"


async def place(key):
    """Order. agentd has it on disk before it happens, and strikes it out afterwards."""
    async with agentd.action("wholesaler.order", key=key, idempotent=False):
        if TROUBLE == "crash_in_action" and not LEFT_OPEN:
            os.kill(os.getpid(), signal.SIGKILL)
        if not is_placed(key):
            write_down(key)


def write_down(key):
    with LEDGER.open("a") as ledger:
        print(key, file=ledger)


def is_placed(key):
    return LEDGER.exists() and key in LEDGER.read_text().splitlines()


def keeper():
    # Retries are ours to make, and agentd's to see.
    client = openai.AsyncOpenAI(api_key=os.environ.get("OPENAI_API_KEY", "none"), max_retries=0)
    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))
    return Agent(model, deps_type=str, tools=[look_at, order], capabilities=[Watched()])


async def work(agent, shelf):
    """One cycle. A shelf that fails is left out; the share of them is shown by agentctl."""
    began = time.monotonic()
    try:
        done = await agent.run(f"Look after {shelf}.", deps=shelf, usage_limits=LIMITS)
    except AgentRunError as error:
        print(f"{shelf}: {error}", file=sys.stderr, flush=True)
        agentd.heartbeat(status="error", task=shelf, success=False)
    else:
        print(f"{shelf}: {done.output}", flush=True)
        took_ms = (time.monotonic() - began) * 1000
        agentd.heartbeat(task=shelf, success=True, latency_ms=took_ms)


async def main():
    # On SIGTERM the shelf at hand is finished: no action is cut in two.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, agentd.shutting_down)
    agentd.heartbeat(status="ok")  # from here on agentd expects us
    for action in LEFT_OPEN:
        # It died between intent and done: look before doing it again.
        print(f"unfinished: {action['key']}, done: {is_placed(action['key'])}", flush=True)
        await place(action["key"])
    agent = keeper()
    for number in range(1, CYCLES + 1) if CYCLES else count(1):
        if agentd.should_stop():
            break
        await work(agent, f"shelf-{number}")
        await asyncio.sleep(PAUSE_S)
    agentd.heartbeat(status="done")


if __name__ == "__main__":
    asyncio.run(main())
