"""Takes memory after six seconds, so that the first sample of it was before.

`hungry.py MODE [MIB]`: `leader` takes it itself; `helper` has a child that does, and lives on;
`limited` has an rlimit of half as much, which is a MemoryError and no kill.
"""

import resource
import subprocess
import sys
import time


def main() -> None:
    mode, mib = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 400
    time.sleep(6)
    if mode == "helper":
        code = subprocess.call([sys.executable, "-S", __file__, "leader", str(mib)])
        print(f"my helper ended with {code}", flush=True)
        time.sleep(900)
    if mode == "limited":
        half = mib << 19
        resource.setrlimit(resource.RLIMIT_AS, (half, half))
    held = [b"x" * (16 << 20) for _ in range(mib >> 4)]
    print(f"it took {len(held)} pieces", flush=True)


main()
