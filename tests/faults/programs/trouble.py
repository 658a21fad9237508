"""An agent that beats for a while and then gets into trouble, by the name of the first argument.

stuck: reads from a socket that nobody writes to. spin: works without end. beside: hangs while
a second thread beats. silence=S: announces it, and is silent. drain: says it shuts down, and is
silent. print=BYTES: beats on, and prints so much between two beats. deaf: ignores SIGTERM, as
do all its children. call: opens a call without an answer.
"""

import json
import os
import signal
import socket
import sys
import threading
import time

BEATS = 5


def connect():
    while True:
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(os.environ["AGENTD_SOCKET"])
        except OSError:
            channel.close()
            time.sleep(0.05)
        else:
            return channel


def beat(channel, **more):
    """Send one; after a restart of the daemon, over a new connection."""
    line = {"token": os.environ["AGENTD_TOKEN"], "status": "working", "tokens": 10, **more}
    while True:
        try:
            channel.sendall(json.dumps(line).encode() + b"\n")
            return channel
        except OSError:
            channel.close()
            channel = connect()


def beat_on(channel, every_s=0.1, **more):
    while True:
        channel = beat(channel, **more)
        time.sleep(every_s)


def main():
    trouble, _, figure = sys.argv[1].partition("=")
    if trouble == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in range(2):
            if os.fork() == 0:
                while True:
                    time.sleep(60)
    channel = connect()
    for _ in range(BEATS):
        beat(channel, task="order-17", step="fetch", tool="http_get")
        time.sleep(0.1)
    pair = socket.socketpair()
    if trouble == "stuck":
        pair[0].recv(1)
    elif trouble == "spin":
        while True:
            pass
    elif trouble == "beside":
        threading.Thread(target=beat_on, args=(channel,), kwargs={"off_thread": True}).start()
        pair[0].recv(1)
    elif trouble == "silence":
        beat(channel, silence_s=float(figure))
        time.sleep(600)
    elif trouble == "drain":
        beat(channel, status="shutting_down")
        time.sleep(600)
    elif trouble == "call":
        line = {"type": "call", "phase": "start", "call": "c1", "op": "chat", "deadline_s": 600}
        channel.sendall(json.dumps(line).encode() + b"\n")
        time.sleep(600)
    elif trouble == "print":
        text = "x" * (int(figure) - 1) + "\n"
        while True:
            sys.stdout.write(text)
            sys.stdout.flush()
            channel = beat(channel)
            time.sleep(0.1)
    else:
        beat_on(channel)


main()
