"""A small file that is replaced as a whole: whoever reads it finds the old one or the new."""

import os
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600


def replace(path: Path, content: bytes) -> None:
    """Have `content` on disk under this name; `OSError`: the old one still is.

    It waits for the disk. Of one file, one at a time.
    """
    unfinished = path.with_suffix(".tmp")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
    unfinished.replace(path)
