"""Which values are secrets, by their name or by their look."""

import itertools
import re
from typing import Final

_SECRET_WORDS: Final = frozenset(
    {"secret", "secrets", "password", "passwd", "passphrase", "token", "credential"}
    | {"credentials", "apikey", "privatekey", "bearer", "auth", "pat", "dsn"}
)
_SECRET_PAIRS: Final = frozenset(
    {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("auth", "key")}
    | {("signing", "key"), ("encryption", "key"), ("routing", "key"), ("service", "key")}
)
# `TOKEN_FILE=/run/x` names a place, and `MAX_TOKENS=900` counts; neither is a secret.
_PLACES_AND_COUNTS: Final = frozenset({"file", "path", "dir", "url", "max", "limit", "count"})
_SECRET_VALUE: Final = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{16,}|sk_(?:live|test)_\w{10,}|xox[abeoprs]-[\w-]{10,}"
    r"|gh[opsu]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|AKIA[A-Z0-9]{16}|AIza[\w-]{30,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_PASSWORD_IN_URL: Final = re.compile(r"://[^\s/@:]{0,256}:[^\s/@]{1,256}@")
_LOOKED_AT: Final = 4096  # characters of a value; a key stands near its beginning
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def is_secret_name(name: str) -> bool:
    """Return whether a variable or option of this name holds a secret, as names usually go."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _PLACES_AND_COUNTS:
        return False
    pairs = itertools.pairwise(words)
    return not _SECRET_WORDS.isdisjoint(words) or not _SECRET_PAIRS.isdisjoint(pairs)


def is_secret_value(value: str) -> bool:
    """Return whether a value looks like a key, a token or a URL with a password in it."""
    looked_at = value[:_LOOKED_AT]
    return bool(_SECRET_VALUE.search(looked_at) or _PASSWORD_IN_URL.search(looked_at))


def is_secret(name: str, value: str) -> bool:
    """Return whether `value`, kept under `name`, should not be shown or stand in a config."""
    return bool(value) and (is_secret_name(name) or is_secret_value(value))


def secret_words(words: list[str]) -> list[int]:
    """Return which words of a command are secrets: `--api-key=x`, what follows `--token`."""
    found = []
    for index, word in enumerate(words):
        before = words[index - 1] if index else ""
        name, equals, value = word.partition("=")
        follows = before.startswith("-") and "=" not in before and not word.startswith("-")
        if (
            (equals and is_secret(name, value))
            or (follows and is_secret_name(before))
            or is_secret_value(word)
        ):
            found.append(index)
    return found
