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
# How long one answer may take. Told to agentd, which judges us by it even while we hang.
CALL_DEADLINE_S = float(os.environ.get("CALL_DEADLINE_S", "60"))


class Channel:
    """The agent's line to agentd. Without a daemon all of it does nothing; it never waits."""

    def __init__(self):
        self.path = os.environ.get("AGENTD_SOCKET")
        self.socket = None

    def say(self, **line):
        """Send one line; what can't be sent at once is left out."""
        if self.path is None:
            return
        try:
            if self.socket is None:
                self.socket = self.connected()
            self.socket.send(json.dumps(line).encode() + b"\n")
        except BlockingIOError:
            pass  # agentd is busy: the next beat will do
        except OSError:
            self.socket = None  # agentd went away: connect anew with the next line

    def connected(self):
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.connect(self.path)
        channel.setblocking(False)
        hello = {"type": "hello", "token": os.environ["AGENTD_TOKEN"]}
        channel.send(json.dumps(hello).encode() + b"\n")
        return channel


def answer(client, channel, ticket):
    """One cycle of work; an open call tells agentd why the agent is silent meanwhile."""
    task, call = f"ticket-{ticket}", f"c{ticket}"
    about = {"op": "chat", "provider": "openai", "model": MODEL, "deadline_s": CALL_DEADLINE_S}
    channel.say(type="call", phase="start", call=call, **about)
    began = time.monotonic()
    try:
        reply = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": f"Answer {task}."}]
        )
    except openai.APIError as error:
        channel.say(type="call", phase="end", call=call, ok=False, error=type(error).__name__)
        raise
    took_ms = (time.monotonic() - began) * 1000
    channel.say(type="call", phase="end", call=call, ok=True, ms=took_ms)
    print(f"{task}: {reply.choices[0].message.content}", flush=True)
    channel.say(
        status="ok",
        tokens=reply.usage.total_tokens,
        model=reply.model,
        task=task,
        success=True,
        latency_ms=took_ms,
    )


def main():
    # Retries are ours to make, and agentd's to see.
    client = openai.OpenAI(api_key=os.environ.get("OPENAI_API_KEY", "none"), max_retries=0)
    channel, ticket = Channel(), 0
    while True:
        ticket += 1
        try:
            answer(client, channel, ticket)
        except openai.RateLimitError as error:
            # The provider said when: agentd parks us until then, and counts no failure.
            wait_s = float(error.response.headers.get("Retry-After", 60))
            channel.say(status="error", retry_after_s=wait_s)
            print(f"quota exceeded, waiting {wait_s:g} s", file=sys.stderr, flush=True)
            time.sleep(wait_s)
        except openai.APIError as error:
            # One lost ticket is no reason to end; the share of them is shown by agentctl.
            channel.say(status="error", task=f"ticket-{ticket}", success=False)
            print(f"ticket-{ticket}: {error}", file=sys.stderr, flush=True)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
