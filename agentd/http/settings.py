"""How the server is set up: where it listens, whom it lets in, what they may do."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.config.hosts import is_loopback, listen_address
from agentd.config.schema import HttpConfig

TOKEN_CHARS_MIN: Final = 16
"""A shorter token could be guessed by a program that is patient."""
TOKEN_CHARS_STRONG: Final = 43
"""32 random bytes in base64: so long a token isn't found by any number of tries."""
TOKEN_BYTES_MAX: Final = 4096
TOKEN_HINT: Final = "head -c 32 /dev/urandom | base64 > FILE"  # noqa: S105 - a command
_ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - to recognise it


class SettingsError(Exception):
    """The server cannot run as it is set up; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Settings:
    """What is decided before the first request. Without a token nothing can be changed."""

    host: str
    port: int
    token: str = ""
    operate: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_hosts: frozenset[str] = frozenset()
    metrics_public: bool = True

    def __post_init__(self) -> None:
        if not self.token and not is_loopback(self.host):
            raise SettingsError(
                f"listening on {self.host}, beyond this machine, needs a token",
                "set http.token_file, or listen on 127.0.0.1",
            )
        if self.operate and not self.token:
            raise SettingsError(
                "operate = true needs a token: without one, every user and every web page on "
                "this machine could kill agents",
                "set http.token_file",
            )

    @property
    def host_names(self) -> frozenset[str]:
        """Return the host names it answers to, in lower case, without ports."""
        own = set() if self.host in _ANYWHERE else {self.host.lower()}
        return frozenset({"localhost", "127.0.0.1", "::1", *own, *self.allowed_hosts})

    @property
    def link_host(self) -> str:
        """Return the host of a link that opens here: "any address" is no name to ask for."""
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to recognise it
        return here.get(self.host, self.host)


def parse_listen(address: str) -> tuple[str, int]:
    """Return host and port of `127.0.0.1:8484` or `[::1]:8484`."""
    found = listen_address(address)
    if found is None:
        raise SettingsError(f"{address!r} is not an address and a port", 'such as "127.0.0.1:8484"')
    return found


def from_config(config: HttpConfig, directory: Path) -> Settings:
    """Return the settings of an [http] table; its paths are relative to `directory`."""
    host, port = parse_listen(config.listen)
    token_file = config.token_file
    return Settings(
        host=host,
        port=port,
        token=read_token(directory / token_file) if token_file else "",
        operate=config.operate,
        tls_cert=directory / config.tls_cert if config.tls_cert else None,
        tls_key=directory / config.tls_key if config.tls_key else None,
        allowed_hosts=frozenset(name.lower() for name in config.allowed_hosts),
        metrics_public=config.metrics_public,
    )


def read_token(path: Path) -> str:
    """Return the first line of a token file."""
    try:
        with path.open("rb") as file:
            head = file.read(TOKEN_BYTES_MAX)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}", "put the token there") from None
    token = head.partition(b"\n")[0].strip().decode("ascii", errors="replace")
    if len(token) < TOKEN_CHARS_MIN:
        told = f"{path}: a token has at least {TOKEN_CHARS_MIN} characters"
        raise SettingsError(told, TOKEN_HINT)
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"{path}: a token is made of letters, digits and signs", TOKEN_HINT)
    return token


def for_one_person(listen: str, *, operate: bool) -> Settings:
    """Return the settings of `agentctl dashboard`: a token that nobody has seen before."""
    host, port = parse_listen(listen)
    return Settings(host=host, port=port, token=secrets.token_urlsafe(32), operate=operate)
