"""An agent that knows the raw socket line only, and says all that can be said in one.

It says each line of `says` (JSON Lines on its command line) once, then repeats the last one.
"""

import json
import os
import socket
import sys
import time

EVERY_S = 0.1
channel = socket.socket(socket.AF_UNIX)
channel.connect(os.environ["AGENTD_SOCKET"])
lines = [json.loads(word) for word in sys.argv[1:]]
for line in lines:
    channel.sendall(json.dumps({"token": os.environ["AGENTD_TOKEN"], **line}).encode() + b"\n")
    time.sleep(EVERY_S)
while True:  # alive, and silent from here on
    time.sleep(60)
