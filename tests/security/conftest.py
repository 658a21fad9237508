from tests.daemon.harness import daemon

__all__ = ["daemon"]
