"""What an internal agent tells the daemon about itself, by sd_notify: ready, and doing what.

    tell("READY=1", "STATUS=listening on http://127.0.0.1:8484")

Standard library only. Where nobody asked to be told (no NOTIFY_SOCKET), nothing is sent.
"""

import os
import socket

SOCKET_ENV = "NOTIFY_SOCKET"


def tell(*assignments: str) -> bool:
    """Send one datagram of `KEY=value` lines; False: nobody to send to, or it wasn't taken.

    `READY=1` once requests are served, `STATUS=` for what `agentctl status` shows as its step.
    A line break in a value would be an assignment of its own, so each becomes a blank.
    """
    address = os.environ.get(SOCKET_ENV, "")
    if not address:
        return False
    said = "\n".join(" ".join(one.split()) for one in assignments).encode()
    path = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.sendto(said, path)
    except OSError:  # the daemon is gone: the channel's end says so, and nobody else asks
        return False
    return True
