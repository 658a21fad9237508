"""An agent that speaks sd_notify only: ready, a status, and beats as watchdog pings."""

import contextlib
import os
import socket
import time

channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
address = os.environ["NOTIFY_SOCKET"]
said = b"READY=1\nSTATUS=counting sheep"
while True:
    with contextlib.suppress(OSError):  # the daemon is being restarted
        channel.sendto(said, address)
    said = b"WATCHDOG=1"
    time.sleep(0.1)
