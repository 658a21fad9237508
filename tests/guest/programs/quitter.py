"""Exits with code 7 once the file is there that its argument names."""

import sys
import time
from pathlib import Path

while not Path(sys.argv[1]).exists():
    time.sleep(0.1)
sys.exit(7)
