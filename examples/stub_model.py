"""A stand-in for a model provider on loopback: the chat-completions endpoint, deterministic.

    python examples/stub_model.py [--port 8765] [--hang-after N] [--fail-after N]

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
    daemon_threads = True

    def __init__(self, port, hang_after, fail_after):
        super().__init__(("127.0.0.1", port), Endpoint)
        self.hang_after, self.fail_after = hang_after, fail_after
        self.requests = count(1)


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = next(self.server.requests)
        if self.server.hang_after is not None and number > self.server.hang_after:
            threading.Event().wait()
        if self.server.fail_after is not None and number > self.server.fail_after:
            self.answer(429, {"error": {"message": "quota exceeded"}}, {"Retry-After": "30"})
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
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--hang-after", type=int)
    arguments.add_argument("--fail-after", type=int)
    chosen = arguments.parse_args()
    provider = Provider(chosen.port, chosen.hang_after, chosen.fail_after)
    print(f"http://127.0.0.1:{provider.server_port}/v1", flush=True)
    provider.serve_forever()


if __name__ == "__main__":
    main()
