"""A support agent on the public `openai` package, supervised by agentd.

It answers tickets with a chat model and two tools: one looks an order up, one pays back.
OPENAI_BASE_URL names the provider; examples/stub_model.py is one for trying, with troubles.
TROUBLE=crash_in_action makes this agent die in the middle of its first refund.
"""

import json
import os
import signal
import sys
import threading
import time
from itertools import count
from pathlib import Path
from zlib import crc32

import openai

import agentd

MODEL = os.environ.get("MODEL", "stub-1")
CYCLES = int(os.environ.get("CYCLES", "0"))  # 0: for ever
PAUSE_S = float(os.environ.get("PAUSE_S", "1"))
# How long one answer may take. Told to agentd, which judges us by it even while we hang.
CALL_DEADLINE_S = float(os.environ.get("CALL_DEADLINE_S", "60"))
ROUNDS_MAX = 30  # of tools for one ticket: a model may get lost
LEDGER = Path(os.environ.get("LEDGER", "state/refunds"))  # stands for the bank
TROUBLE = os.environ.get("TROUBLE", "")
LEFT_OPEN = agentd.unfinished()  # what was in flight when the last incarnation died
ENDING = threading.Event()
GOODS = ("kettle", "lamp", "tent", "violin", "saddle", "printer", "mirror", "globe")
FATES = ("is on its way", "was returned", "waits at customs", "got lost", "is being packed")


def look_up_order(ticket):
    """What the shop knows; the same for the same question, as a database would."""
    chance = crc32(ticket.encode())
    return f"The {GOODS[chance % 8]} {FATES[chance // 8 % 5]}, says {GOODS[chance // 40 % 8]} desk."


def refund(ticket):
    """Pay back. agentd has it on disk before money moves, and strikes it out afterwards."""
    key = f"refund:{ticket}"
    with agentd.action("bank.refund", key=key, idempotent=False):
        if TROUBLE == "crash_in_action" and not LEFT_OPEN:
            os.kill(os.getpid(), signal.SIGKILL)
        if not is_paid(key):
            with LEDGER.open("a") as ledger:
                print(key, file=ledger)
    return "paid back"


def is_paid(key):
    return LEDGER.exists() and key in LEDGER.read_text().splitlines()


TOOLS = {"look_up_order": look_up_order, "refund": refund}
SCHEMA = {"type": "object", "properties": {"ticket": {"type": "string"}}, "required": ["ticket"]}
OFFERED = [{"type": "function", "function": {"name": n, "parameters": SCHEMA}} for n in TOOLS]


# Tries again, spread out, and asks agentd first: all agents of this host share one breaker.
@agentd.guarded("provider", retry_on=(openai.APIConnectionError, openai.InternalServerError))
def ask(client, messages):
    """One answer of the model; the open call tells agentd why we are silent meanwhile."""
    about = {"provider": "openai", "model": MODEL, "deadline_s": CALL_DEADLINE_S}
    with agentd.call("chat", **about) as call:
        reply = client.chat.completions.create(model=MODEL, messages=messages, tools=OFFERED)
        call.usage(reply)  # counted at once: a budget needs no heartbeat
    return reply.choices[0].message


def use(wanted):
    """One step; of what goes in and comes out only fingerprints leave this process."""
    name, arguments = wanted.function.name, json.loads(wanted.function.arguments)
    with agentd.step(name, tool=name, args=arguments) as step:
        found = TOOLS[name](**arguments)
        step.output(found)
    return {"role": "tool", "tool_call_id": wanted.id, "content": found}


def answer(client, ticket):
    """One cycle of work."""
    messages = [{"role": "user", "content": ticket}]
    for _ in range(ROUNDS_MAX):
        reply = ask(client, messages)
        if not reply.tool_calls:
            return reply.content
        messages += [reply, *map(use, reply.tool_calls)]
        if (word := agentd.control()) and word["action"] == "steer":
            print(f"agentd says: {word['message']}", flush=True)
            messages.append({"role": "system", "content": word["message"]})
    raise RuntimeError(f"no answer after {ROUNDS_MAX} rounds")


def settle(action):
    """The last incarnation died between intent and done: look before doing it again."""
    print(f"unfinished: {action['key']}, paid: {is_paid(action['key'])}", flush=True)
    refund(action["key"].removeprefix("refund:"))


def work(client, ticket):
    began = time.monotonic()
    try:
        print(f"{ticket}: {answer(client, ticket)}", flush=True)
    except openai.RateLimitError as error:
        # The provider said when: agentd parks us until then, and counts no failure.
        wait_s = float(error.response.headers.get("Retry-After", 60))
        agentd.parked(wait_s)
        print(f"quota exceeded, waiting {wait_s:g} s", file=sys.stderr, flush=True)
        ENDING.wait(wait_s)
    except agentd.BreakerOpen as error:
        print(f"{ticket}: {error}", file=sys.stderr, flush=True)
        agentd.heartbeat(status="error", task=ticket, silence_s=error.retry_in_s)
        ENDING.wait(error.retry_in_s)
    except (openai.APIError, RuntimeError) as error:
        # One lost ticket is no reason to end; agentctl shows the share of them.
        print(f"{ticket}: {error}", file=sys.stderr, flush=True)
        agentd.heartbeat(status="error", task=ticket, success=False)
    else:
        took_ms = (time.monotonic() - began) * 1000
        agentd.heartbeat(task=ticket, success=True, latency_ms=took_ms)


def end_soon(*_):
    """On SIGTERM the ticket at hand is finished: no action is cut in two."""
    agentd.shutting_down()
    ENDING.set()


def main():
    signal.signal(signal.SIGTERM, end_soon)
    agentd.heartbeat(status="ok")  # from here on agentd expects us
    for action in LEFT_OPEN:
        settle(action)
    # Retries are ours to make, and agentd's to see.
    client = openai.OpenAI(api_key=os.environ.get("OPENAI_API_KEY", "none"), max_retries=0)
    for number in range(1, CYCLES + 1) if CYCLES else count(1):
        if agentd.should_stop():
            break
        work(client, f"ticket-{number}")
        ENDING.wait(PAUSE_S)
    agentd.heartbeat(status="done")


if __name__ == "__main__":
    main()
