"""What `[fleet]` says, and the subjects, buckets and streams that follow from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from agentd.client.errors import AgentdError
from agentd.config.names import AGENT_NAME, FLEET_HOST
from agentd.config.network_checks import TTL_MS_MIN, own_name
from agentd.config.schema import FleetConfig

Access = Literal["view", "operate"]

HOST_RULE: Final = "letters, digits, - and _, the first a letter or digit, at most 63 in all"
BEATS_PER_TTL: Final = 4
"""Signs of life in the time after which a host is lost: three of them may get lost."""


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """One side's view of the fleet: where the servers are, who we are, how long silence may be."""

    servers: tuple[str, ...]
    host: str
    credentials_file: Path | None = None
    tls_ca: Path | None = None
    prefix: str = "agentd"
    ttl_ms: int = 10_000

    @classmethod
    def from_config(cls, fleet: FleetConfig, directory: Path) -> Self:
        """Return the settings of a `[fleet]` table whose file stands in `directory`.

        `invalid_config` where no server is named, or the name or prefix can't be part of a subject.
        """
        if not fleet.nats:
            raise AgentdError(
                "invalid_config", "fleet.nats names no server", 'such as nats = ["tls://HOST:4222"]'
            )
        if not AGENT_NAME.fullmatch(fleet.prefix.lower()):
            told = f"fleet.prefix: {fleet.prefix!r} is not one word of letters, digits, - and _"
            raise AgentdError("invalid_config", told)
        if fleet.ttl_ms < TTL_MS_MIN:
            raise AgentdError("invalid_config", f"fleet.ttl is below {TTL_MS_MIN // 1000}s")
        return cls(
            servers=tuple(fleet.nats),
            host=host_name(own_name(fleet)),
            credentials_file=directory / fleet.credentials_file if fleet.credentials_file else None,
            tls_ca=directory / fleet.tls_ca if fleet.tls_ca else None,
            prefix=fleet.prefix,
            ttl_ms=fleet.ttl_ms,
        )

    @property
    def beat_ms(self) -> int:
        """Return the time between two signs of life."""
        return self.ttl_ms // BEATS_PER_TTL

    @property
    def status_bucket(self) -> str:
        """Return the bucket of status documents and signs of life; its entries end with the TTL."""
        return f"{self.prefix}_status"

    @property
    def hosts_bucket(self) -> str:
        """Return the bucket that knows every host that ever was here, with its agents' names."""
        return f"{self.prefix}_hosts"

    @property
    def claims_bucket(self) -> str:
        """Return the bucket where one host says that it announces the loss of another."""
        return f"{self.prefix}_claims"

    @property
    def status_stream(self) -> str:
        """Return the stream behind the status bucket."""
        return f"KV_{self.status_bucket}"

    @property
    def hosts_stream(self) -> str:
        """Return the stream behind the bucket of hosts."""
        return f"KV_{self.hosts_bucket}"

    @property
    def claims_stream(self) -> str:
        """Return the stream behind the bucket of claims."""
        return f"KV_{self.claims_bucket}"

    @property
    def events_stream(self) -> str:
        return f"{self.prefix}_events"

    def status_subject(self, host: str) -> str:
        """Return where a host's whole status is kept; `*` for all hosts."""
        return f"$KV.{self.status_bucket}.{host}"

    def alive_subject(self, host: str) -> str:
        """Return where a host's sign of life is kept; `*` for all hosts."""
        return f"$KV.{self.status_bucket}.{host}.alive"

    def roster_subject(self, host: str) -> str:
        """Return where a host says what agents it has; `*` for all hosts."""
        return f"$KV.{self.hosts_bucket}.{host}"

    def claim_subject(self, host: str, presence: str) -> str:
        """Return where the loss of `host`, last here as `presence`, is claimed."""
        return f"$KV.{self.claims_bucket}.{host}.{presence}"

    def event_subject(self, host: str) -> str:
        return f"{self.prefix}.{host}.event"

    def command_subject(self, host: str, access: Access, verb: str) -> str:
        return f"{self.prefix}.{host}.cmd.{access}.{verb}"


def host_name(name: str) -> str:
    """Return `name` if a host can be called so, or raise `invalid_config`."""
    if not FLEET_HOST.fullmatch(name):
        raise AgentdError(
            "invalid_config",
            f"{name!r} cannot be the name of a host in a fleet",
            f"its name is made of {HOST_RULE}: [fleet] name",
        )
    return name
