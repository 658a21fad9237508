"""A stand-in for a model provider on loopback: chat completions with tools, and with troubles.

    python3 examples/stub_model.py [--port 8765] [--retry-after S]

An answer depends on the request alone: the model asks for each tool it was offered, in their
order, once, and then answers in words. The base URL says what is wrong with it:

    http://127.0.0.1:8765/v1             nothing
    http://127.0.0.1:8765/loop/v1        asks for the same tool with the same arguments for ever
    http://127.0.0.1:8765/runaway/v1     always finds one more thing to ask a tool for
    http://127.0.0.1:8765/overspend/v1   so too, at 400,000 tokens an answer
    http://127.0.0.1:8765/stall/v1       accepts, and never answers
    http://127.0.0.1:8765/quota/v1       429 with Retry-After
    http://127.0.0.1:8765/outage/v1      503

What it has answered so far, in tokens: curl http://127.0.0.1:8765/bill
Standard library only. Prints its healthy base URL first.
"""

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from zlib import crc32

ANSWERS = ("The order ships tomorrow.", "It is settled.", "Please send the invoice number.")
ASPECTS = ("delivery", "returns", "warranty", "colour", "weight", "packaging", "customs", "tax")
OVERSPENT_TOKENS = 400_000
THINKING_S = 0.2  # what a loop takes a round: with none, it is over before anybody is told


class Provider(ThreadingHTTPServer):
    """One thread a connection, so that a request that hangs hangs alone."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port, retry_after_s):
        super().__init__(("127.0.0.1", port), Endpoint)
        self.retry_after_s = retry_after_s
        self.bill = {"answers": 0, "prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0}
        self.till = threading.Lock()

    def charge(self, used):
        cached = used["prompt_tokens_details"]["cached_tokens"]
        with self.till:
            for name, amount in {"answers": 1, **used, "cached_tokens": cached}.items():
                if name in self.bill:
                    self.bill[name] += amount


class Endpoint(BaseHTTPRequestHandler):
    """Any POST is a chat completion; what stands before /v1 is the trouble."""

    protocol_version = "HTTP/1.1"  # clients keep their connection
    disable_nagle_algorithm = True  # or each answer waits 40 ms for an acknowledgement

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        trouble = self.path.split("/")[1]
        if trouble == "stall":
            threading.Event().wait()
        elif trouble == "quota":
            refusal = {"error": {"message": "quota exceeded", "type": "rate_limit_error"}}
            self.answer(429, refusal, {"Retry-After": f"{self.server.retry_after_s:g}"})
        elif trouble == "outage":
            self.answer(503, {"error": {"message": "overloaded", "type": "server_error"}})
        else:
            answered = completion(asked, trouble)
            self.server.charge(answered["usage"])
            self.answer(200, answered)

    def do_GET(self):
        self.answer(200, self.server.bill)

    def answer(self, status, body, headers=None):
        payload = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        """Stay quiet: the agent's own log tells the story."""


def completion(asked, trouble):
    """Build the document that the real endpoint answers with."""
    if trouble in {"loop", "overspend"}:
        time.sleep(THINKING_S)
    messages, tools = asked["messages"], asked.get("tools", [])
    task = max(place for place, message in enumerate(messages) if message["role"] == "user")
    rounds = sum(message["role"] == "tool" for message in messages[task:])
    topic = text_of(messages[task])
    if tools and trouble == "loop":
        message = tool_call(tools[0], topic, 1)
    elif tools and trouble in {"runaway", "overspend"}:
        aspect = f"{ASPECTS[rounds % 8]} and {ASPECTS[rounds // 8 % 8]}"
        message = tool_call(tools[0], f"{topic} {aspect}", rounds + 1)
    elif rounds < len(tools):
        message = tool_call(tools[rounds], topic, rounds + 1)
    else:
        answer = ANSWERS[crc32(topic.encode()) % len(ANSWERS)]
        message = {"role": "assistant", "content": answer}
    choice = {
        "index": 0,
        "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
        "message": message,
    }
    return {
        "id": f"chatcmpl-{crc32(json.dumps(messages).encode()):08x}",
        "object": "chat.completion",
        "created": 0,
        "model": asked["model"],
        "choices": [choice],
        "usage": usage(messages, message, trouble),
    }


def text_of(message):
    """The text of a message, which some clients send in parts."""
    content = message.get("content") or ""
    if isinstance(content, list):
        content = " ".join(part.get("text", "") for part in content)
    return content


def tool_call(tool, text, number):
    """A message that asks for a tool; whatever it wants to know, it is told the task."""
    schema = tool["function"].get("parameters", {})
    arguments = json.dumps(dict.fromkeys(schema.get("properties", {}), text))
    function = {"name": tool["function"]["name"], "arguments": arguments}
    call = {"id": f"call_{number}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def usage(messages, message, trouble):
    """Four characters are a token; all but the last message were cached by an earlier call."""
    counted = [len(json.dumps(one)) // 4 for one in messages]
    prompt, completed = sum(counted), len(json.dumps(message)) // 4
    if trouble == "overspend":
        prompt += OVERSPENT_TOKENS
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completed,
        "total_tokens": prompt + completed,
        "prompt_tokens_details": {"cached_tokens": sum(counted[:-1])},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--port", type=int, default=0, help="0: any free one")
    arguments.add_argument("--retry-after", type=float, metavar="SECONDS", default=30)
    chosen = arguments.parse_args()
    provider = Provider(chosen.port, chosen.retry_after)
    print(f"http://127.0.0.1:{provider.server_port}/v1", flush=True)
    provider.serve_forever()


if __name__ == "__main__":
    main()
