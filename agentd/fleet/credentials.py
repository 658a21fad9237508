"""Who we are to the NATS servers: what stands in `credentials_file`, and the inbox it implies.

Answers come to an inbox. If all shared one, whoever may listen there would read everybody's
answers, logs among them; so each identity listens under a name that the server lets only it use.
"""

import base64
import binascii
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import nkeys
from nats.aio.client import RawCredentials

from agentd.client.errors import AgentdError

INBOX: Final = "_INBOX"
_JWT: Final = "BEGIN NATS USER JWT"
_SEED: Final = "BEGIN USER NKEY SEED"
_BYTES_MAX: Final = 64 << 10
_OTHERS_MAY_READ: Final = 0o007
_TOKEN: Final = re.compile(r"[^a-zA-Z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to sign in, as options of nats-py, and the identity that the server knows by it."""

    options: dict[str, Any]
    identity: str

    @property
    def inbox(self) -> str:
        """Return the prefix under which this identity listens for answers."""
        return f"{INBOX}.{self.identity}"


def read_credentials(path: Path | None, server: str) -> Credentials:
    """Read the file of one of three kinds; `invalid_config` says what is wrong with it.

    A `.creds` file (JWT and seed), the seed of an nkey (`SU…`), or a line `USER:PASSWORD`.
    Without a file the user of the URL counts, if it names one.
    """
    if path is None:
        user = urlsplit(server).username
        return Credentials({}, _token(unquote(user) if user else "anyone"))
    text = _text(path)
    if _JWT in text:
        lines = [line.strip() for line in text.splitlines()]
        _public_key(_after(_SEED, lines), path)
        # Not the path: nats-py would read it again, and take what it finds for whole.
        whole = RawCredentials("\n".join([*lines, ""]))
        return Credentials({"user_credentials": whole}, _subject(lines, path))
    line = text.strip()
    if line.startswith("SU"):
        return Credentials({"nkeys_seed_str": line}, _public_key(line, path))
    user, colon, password = line.partition(":")
    if not colon or "\n" in line:
        raise _wrong(path, "it is no .creds file, no seed of an nkey and no line USER:PASSWORD")
    return Credentials({"user": user, "password": password}, _token(user))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise _wrong(path, error.strerror or str(error)) from None
    if mode & _OTHERS_MAY_READ:
        raise _wrong(path, f"others can read it; chmod o= {path}")
    if len(content) > _BYTES_MAX:
        raise _wrong(path, "too large for credentials")
    return content.decode("utf-8", "replace")


def _public_key(seed: str, path: Path) -> str:
    try:
        return str(nkeys.from_seed(bytearray(seed.encode())).public_key.decode())
    except (nkeys.NkeysError, binascii.Error, ValueError):
        raise _wrong(path, "not a whole seed of an nkey") from None


def _after(mark: str, lines: list[str]) -> str:
    """Return the line that follows a mark; empty: there is none."""
    at = next((i for i, line in enumerate(lines) if mark in line), len(lines))
    return "".join(lines[at + 1 : at + 2])


def _subject(lines: list[str], path: Path) -> str:
    """Return whom a JWT names; the server checks it, here it only names our inbox."""
    try:
        claims = _after(_JWT, lines).split(".")[1]
        return _token(
            json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]
        )
    except (LookupError, ValueError, TypeError, AttributeError):
        raise _wrong(path, "the JWT in it can't be read") from None


def _token(identity: str) -> str:
    return _TOKEN.sub("-", identity) or "anyone"


def _wrong(path: Path, why: str) -> AgentdError:
    return AgentdError("invalid_config", f"fleet.credentials_file: {path}: {why}")
