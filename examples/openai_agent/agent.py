"""A small LLM agent on the public `openai` package, supervised by agentd.

It answers tickets with a chat model and beats once a cycle with the tokens that the
provider counted. It needs nothing of agentd's: a heartbeat is one JSON line on a Unix
socket. OPENAI_BASE_URL names the provider; examples/stub_model.py is one for trying.
"""

import json
import os
import socket
import sys
import time

import openai

MODEL = os.environ.get("MODEL", "stub-1")
PAUSE_S = float(os.environ.get("PAUSE_S", "1"))


class Channel:
    """The agent's line to agentd; without a daemon, all of it does nothing."""

    def __init__(self):
        self.socket = None
        if "AGENTD_SOCKET" in os.environ:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(os.environ["AGENTD_SOCKET"])
            self.socket.setblocking(False)
            self.say(type="hello", token=os.environ["AGENTD_TOKEN"])

    def say(self, **line):
        try:
            if self.socket is not None:
                self.socket.send(json.dumps(line).encode() + b"\n")
        except BlockingIOError:
            pass  # agentd is busy: the next beat will do
        except OSError:
            self.socket = None  # agentd went away; the work goes on


def answer(client, channel, ticket):
    """One cycle of work; an open call tells agentd why the agent is silent meanwhile."""
    call = f"c{ticket}"
    channel.say(type="call", phase="start", call=call, op="chat", model=MODEL, deadline_s=60)
    began = time.monotonic()
    reply = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": f"Answer ticket {ticket}."}]
    )
    took_ms = (time.monotonic() - began) * 1000
    channel.say(type="call", phase="end", call=call, ok=True, ms=took_ms)
    print(f"ticket {ticket}: {reply.choices[0].message.content}", flush=True)
    channel.say(
        status="ok",
        tokens=reply.usage.total_tokens,
        model=reply.model,
        task=f"ticket-{ticket}",
        success=True,
        latency_ms=took_ms,
    )


def main():
    client = openai.OpenAI(api_key=os.environ.get("OPENAI_API_KEY", "none"), max_retries=0)
    channel = Channel()
    ticket = 0
    while True:
        ticket += 1
        try:
            answer(client, channel, ticket)
        except openai.RateLimitError as error:
            wait_s = float(error.response.headers.get("Retry-After", 60))
            channel.say(status="error", retry_after_s=wait_s)
            print(f"quota exceeded, waiting {wait_s:g} s", file=sys.stderr, flush=True)
            time.sleep(wait_s)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
