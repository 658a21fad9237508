"""An agent that hangs in a TLS handshake with the peer it is given."""

import socket
import ssl
import sys
import time

import agentd


def call_api(peer: str) -> None:
    host, _, port = peer.rpartition(":")
    raw = socket.create_connection((host, int(port)))
    context = ssl.create_default_context()
    context.wrap_socket(raw, server_hostname="api.example")


def main() -> None:
    if "--allow-stack-dump" in sys.argv:
        agentd.allow_stack_dump()
    for number in range(5):
        agentd.heartbeat(task=f"order-{number}", status="working", tokens=10)
        time.sleep(0.1)
    call_api(sys.argv[1])


main()
