from tests.daemon.harness import daemon
from tests.daemon.internal_harness import internal

__all__ = ["daemon", "internal"]
