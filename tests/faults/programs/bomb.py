"""A fork bomb that first joins the group whose cgroup.procs is named by the argument."""

import os
import sys
import time
from pathlib import Path

Path(sys.argv[1]).write_text(str(os.getpid()))
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.05)
