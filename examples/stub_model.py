"""A stand-in for a model provider on loopback: the chat-completions endpoint, deterministic.

    python3 examples/stub_model.py [--port 8765] [--hang-after N] [--fail-after N [--retry-after S]]

Answers every request with a short text and honest usage figures. After `--hang-after`
requests it accepts and stays silent, as a broken provider does; after `--fail-after` it
answers 429 with a Retry-After header. Prints its base URL first.
"""

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

REPLIES = ("The order ships tomorrow.", "Refund granted.", "Please send the invoice number.")


class Provider(ThreadingHTTPServer):
    """One thread a request, so that a request that hangs hangs alone."""

    daemon_threads = True

    def __init__(self, port, troubles):
        super().__init__(("127.0.0.1", port), Endpoint)
        self.troubles = troubles
        self.requests = count(1)


class Endpoint(BaseHTTPRequestHandler):
    """Any POST is a chat completion."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number, troubles = next(self.server.requests), self.server.troubles
        if troubles.hang_after is not None and number > troubles.hang_after:
            threading.Event().wait()
        if troubles.fail_after is not None and number > troubles.fail_after:
            refusal = {"error": {"message": "quota exceeded", "type": "rate_limit_error"}}
            self.answer(429, refusal, {"Retry-After": f"{troubles.retry_after:g}"})
            return
        prompt_tokens = sum(len(str(m.get("content", ""))) // 4 + 4 for m in asked["messages"])
        text = REPLIES[number % len(REPLIES)]
        self.answer(200, completion(asked["model"], number, text, prompt_tokens))

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


def completion(model, number, text, prompt_tokens):
    """Build the document that the real endpoint answers with."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(text) // 4 + 1}
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--port", type=int, default=0, help="0: any free one")
    arguments.add_argument("--hang-after", type=int, metavar="N")
    arguments.add_argument("--fail-after", type=int, metavar="N")
    arguments.add_argument("--retry-after", type=float, metavar="SECONDS", default=30)
    chosen = arguments.parse_args()
    provider = Provider(chosen.port, chosen)
    print(f"http://127.0.0.1:{provider.server_port}/v1", flush=True)
    provider.serve_forever()


if __name__ == "__main__":
    main()
