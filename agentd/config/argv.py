"""A command as the file has it, as the list of words that is executed."""

import shlex


def argv(command: str | list[str]) -> list[str]:
    """Return the words of a command; a string is split as a shell would, and never run by one.

    An empty command gives an empty list. Quotes that are left open are a ValueError.
    """
    if isinstance(command, str):
        return shlex.split(command)
    return list(command)
