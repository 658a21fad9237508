"""An agent that opens files until there are none left, and dies of it."""

import os
import sys

opened = []
try:
    while True:
        opened.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    for fd in opened[:10]:
        os.close(fd)
    sys.stdout.write(f"{error}\n")
    sys.exit(1)
