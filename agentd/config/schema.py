"""The whole configuration: `[daemon]`, `[alerts]`, `[report]`, breakers, prices and the agents."""

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from agentd.config.agent import AgentConfig, Count, Positive, Share, Table, Words
from agentd.config.units import Bytes, MicroDollars, Milliseconds


class DaemonConfig(Table, frozen=True, kw_only=True):
    """[daemon]: places, access and bounds of the daemon itself."""

    socket: str = ""
    """Path of the socket; default by mode, see the operations guide."""
    state_dir: str = ""
    """Directory of the store."""
    log_dir: str = ""
    """Directory of the agents' output."""
    agents_dir: str = "agents.d"
    """Directory of agent files, relative to the main file."""
    operator_group: str = "agentd"
    """Members may run every command; empty: only root and the daemon's own user."""
    viewer_group: str = ""
    """Members may read, without log text."""
    watch: bool = True
    """Whether edits of the config apply by themselves; removal needs an explicit reload."""
    timezone: str = ""
    """IANA zone of reports and daily budgets; default: the system's."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severity that the daemon logs."""
    line_rate: Count = 200
    """Lines a second that one agent may send, bursts of twice that; 0: no limit."""
    connections_max: Positive = 512
    """Connections in all."""
    connections_per_uid: Positive = 64
    """Connections of one user."""
    connections_per_agent: Positive = 8
    """Connections of one agent."""
    recorder_max_bytes: Bytes = field(name="recorder_max", default=Bytes(64 << 20))
    """Disk that the recorder takes up at most; 0 turns it off and deletes what it has."""
    history_days: Positive = 400
    """How long history is kept."""
    history_max_bytes: Bytes = field(name="history_max", default=Bytes(500 << 20))
    """Disk that history keeps at most."""


class BreakerConfig(Table, frozen=True, kw_only=True):
    """[breakers.NAME]: a host-wide breaker shared by all agents that name this dependency."""

    failures: Positive = 5
    """Failures within `window` that open it."""
    window_ms: Milliseconds = field(name="window", default=Milliseconds(60_000))
    """How far back failures count."""
    reset_ms: Milliseconds = field(name="reset", default=Milliseconds(60_000))
    """How long it stays open before a trial."""
    half_open_max: Positive = 1
    """Trials at a time while half open."""
    retry_ratio: Share = 0.2
    """Retries allowed per first attempt."""
    retry_floor_per_minute: Count = 6
    """Retries a minute that are always allowed."""


class PriceConfig(Table, frozen=True, kw_only=True):
    """[prices."MODEL"]: USD per million tokens; wins over the price table."""

    input_micros: MicroDollars | None = field(name="input", default=None)
    """Input tokens."""
    output_micros: MicroDollars | None = field(name="output", default=None)
    """Output tokens."""
    cache_read_micros: MicroDollars | None = field(name="cache_read", default=None)
    """Input tokens read from a cache."""
    cache_write_micros: MicroDollars | None = field(name="cache_write", default=None)
    """Input tokens written to a cache."""


class SinkConfig(Table, frozen=True, kw_only=True):
    """[[alerts.sinks]]: one receiver of alerts."""

    name: Annotated[str, Meta(examples=["ops"])]
    """Its name, for `agentctl alerts test NAME`."""
    type: Literal["slack", "pagerduty", "webhook", "command", "apprise"]
    """What kind of receiver it is."""
    url: str = ""
    """Where to, `https://` (plain `http://` only to this machine); a secret belongs in `url_file`.
    PagerDuty needs none but for its European service."""
    url_file: Annotated[str, Meta(examples=["slack-url"])] = ""
    """File that holds the URL in its first line, relative to the directory of this file; read
    at each delivery. Of type apprise: a URL a line."""
    routing_key_file: str = ""
    """File that holds the routing key in its first line (pagerduty)."""
    secret_file: str = ""
    """File that holds the secret that signs each body, in its first line (webhook)."""
    command: str | Words = []
    """The command run, the alert as JSON on its stdin (command)."""
    min_severity: Literal["info", "warning", "critical"] = "warning"
    """The least severity sent; `info` gets the daily report, too."""
    agents: Words = field(default_factory=lambda: ["*"])
    """Globs of agents, and `tag:NAME`; the host's own alerts go to whoever takes all."""
    events: Words = []
    """Globs of events that are sent, such as `agent.*`; empty: all."""


class AlertsConfig(Table, frozen=True, kw_only=True):
    """[alerts]: who is told, and how often."""

    remind_every_ms: Milliseconds = field(name="remind_every", default=Milliseconds(3_600_000))
    """How often an open incident is brought back to mind until acknowledged."""
    digest_after: Positive = 5
    """More alerts than that a minute are folded into one."""
    sinks: list[SinkConfig] = []
    """Who receives them; each a table of its own."""


_HH_MM: Final = {"form": "HH:MM"}


class ReportConfig(Table, frozen=True, kw_only=True):
    """[report]: the daily report and the dead man's switch."""

    at: Annotated[
        str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", examples=["08:00"], extra=_HH_MM)
    ] = "08:00"
    """When, in the daemon's zone."""
    ping_url: str = ""
    """A dead man's switch elsewhere: called by GET every `ping_every` while agentd supervises."""
    ping_every_ms: Milliseconds = field(name="ping_every", default=Milliseconds(300_000))
    """How often it is called: every second at the most."""


class HttpConfig(Table, frozen=True, kw_only=True):
    """[http]: the dashboard, kept running as internal agent `agentd-http`."""

    listen: str = ""
    """Address and port, such as `127.0.0.1:8484`; empty: off."""
    token_file: str = ""
    """File that holds the token in its first line, relative to the directory of this file;
    required beyond loopback, and for `operate`."""
    operate: bool = False
    """Whether it may change anything; without it, the process has a viewer's rights."""
    tls_cert: str = ""
    """Certificate file, relative to the directory of this file."""
    tls_key: str = ""
    """Key file, relative to the directory of this file."""
    allowed_hosts: Words = []
    """Host names it answers to beside those of this machine, without a port."""
    metrics_public: bool = True
    """Whether /metrics needs no token."""


class FleetBudgetConfig(Table, frozen=True, kw_only=True):
    """[fleet.budget]: a budget over all hosts."""

    usd_per_day_micros: MicroDollars | None = field(name="usd_per_day", default=None)
    """Dollars in a civil day over all hosts; who spends is paused. See docs/other-hosts.md."""


class FleetConfig(Table, frozen=True, kw_only=True):
    """[fleet]: several machines; with `nats`, internal agent `agentd-fleet` links this one."""

    nats: Words = []
    """URLs of the NATS servers; empty: off."""
    name: str = ""
    """This host's name, letters, digits, - and _; default: the host name, its dots as -."""
    credentials_file: str = ""
    """File of NATS credentials, relative to the directory of this file."""
    tls_ca: str = ""
    """Certificate authority file, relative to the directory of this file."""
    prefix: str = "agentd"
    """Prefix of all subjects."""
    ttl_ms: Milliseconds = field(name="ttl", default=Milliseconds(10_000))
    """A host silent for so long is lost."""
    hosts: dict[str, str] = {}
    """Host names as ssh knows them, for `-H @all`."""
    budget: FleetBudgetConfig = FleetBudgetConfig()
    """A budget over all hosts."""


class Config(Table, frozen=True, kw_only=True):
    """Everything, `[defaults]` already folded into each agent."""

    daemon: DaemonConfig = DaemonConfig()
    alerts: AlertsConfig = AlertsConfig()
    report: ReportConfig = ReportConfig()
    breakers: dict[str, BreakerConfig] = {}
    prices: dict[str, PriceConfig] = {}
    http: HttpConfig = HttpConfig()
    fleet: FleetConfig = FleetConfig()
    agents: dict[str, AgentConfig] = {}


# A change of these restarts the process; everything else applies live.
EXECUTED: Final = frozenset(
    {"command", "directory", "environment", "environment_files", "user", "group", "limits"}
    | {"external"}
)

# Read and checked, without effect in this version. `agentd check` and `status` say so.
NO_EFFECT_YET: Final[tuple[str, ...]] = ()
