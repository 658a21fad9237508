"""An agent that prints numbered lines and nothing else: arguments are how many a second, and words.

Each line is `INCARNATION NUMBER WORDS`, in one write.
"""

import os
import sys
import time


def main() -> None:
    pause_s, words = 1 / float(sys.argv[1]), " ".join(sys.argv[2:])
    number = 0
    while True:
        os.write(1, f"{os.environ['AGENTD_INCARNATION']} {number} {words}\n".encode())
        number += 1
        time.sleep(pause_s)


main()
