"""Where a daemon under test lives."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_root() -> Iterator[Path]:
    """Yield a new directory that every user may enter, its path short enough for a socket's."""
    with tempfile.TemporaryDirectory(prefix="agentd-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        yield root
