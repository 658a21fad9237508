"""Secrets of sinks: read from their files at each delivery, so that a changed one counts at once.

What is wrong with a file is told with its path and what to do; its content never is.
"""

from pathlib import Path
from typing import Final

from agentd.config.sources import BadTomlError, UnreadableError, decoded, read_bytes
from agentd.sinks.message import DeliveryFailed, Resources

# Keys and URLs are some hundred characters long; a file beyond it is another file.
SECRET_BYTES_MAX: Final = 64 << 10


def first_line(resources: Resources, name: str) -> str:
    """Return the first line of a secret file, without white space around it.

    Raises DeliveryFailed where there is no such file, or nothing stands in its first line.
    """
    path = resources.directory / name
    line = _text(path).partition("\n")[0].strip()
    if not line:
        raise DeliveryFailed(f"{path}: its first line is empty; write the secret there")
    return line


def filled_lines(resources: Resources, name: str) -> list[str]:
    """Return the lines of a secret file; blank ones and those that begin with # are left out.

    Raises DeliveryFailed where there is no such file, or none such line in it.
    """
    path = resources.directory / name
    lines = [line.strip() for line in _text(path).splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise DeliveryFailed(f"{path}: nothing stands in it; write one URL a line")
    return found


def _text(path: Path) -> str:
    try:
        content, _ = read_bytes(path)
        if len(content) > SECRET_BYTES_MAX:
            told = f"{path}: larger than {SECRET_BYTES_MAX >> 10} KiB, too large for a secret"
            raise DeliveryFailed(told)
        return decoded(content)
    except OSError as error:  # the host is short of something: a later attempt may read it
        raise DeliveryFailed(f"{path}: cannot be read now: {error.strerror}") from None
    except UnreadableError as error:
        told = f"{path}: {error}; put the secret there, readable by agentd's user alone"
        raise DeliveryFailed(told) from None
    except BadTomlError:  # its text would quote the byte
        raise DeliveryFailed(f"{path}: not UTF-8 text") from None
