"""Each kind of mistake: the file, the line, the key, the words, and what instead."""

from pathlib import Path

import pytest

from agentd.config.load import load
from tests.config.conftest import Read

A = '[agents.a]\ncommand = ["x"]\n'
SINK = '[[alerts.sinks]]\nname = "a"\ntype = "command"\ncommand = "x"\n'

# name: (main file, line, key, words of the message, words of the hint)
MISTAKES: dict[str, tuple[str, int, str, str, str]] = {
    "unknown section": ("[agent.a]\n", 1, "agent", "unknown option", '"agents"'),
    "agent's option at top": ("nice = 3\n", 1, "nice", "unknown option", "[agents.NAME]"),
    "daemon's option at top": ("watch = true\n", 1, "watch", "unknown option", '"daemon.watch"'),
    "unknown option": (
        f'{A}[agents.a.restart]\ncooldwn = "5m"\n',
        *(4, "agents.a.restart.cooldwn", "unknown option", 'did you mean "cooldown"?'),
    ),
    "option of another table": (
        f'{A}cooldown = "5m"\n',
        *(3, "agents.a.cooldown", "unknown option", '"restart.cooldown"'),
    ),
    "unknown daemon option": (
        "[daemon]\nline_rat = 3\n",
        *(2, "daemon.line_rat", "unknown option", '"line_rate"'),
    ),
    "string for a number": (
        f'{A}nice = "3"\n',
        *(3, "agents.a.nice", "expected a whole number, found a string", ""),
    ),
    "boolean for a number": (
        f"{A}nice = true\n",
        *(3, "agents.a.nice", "expected a whole number, found true", ""),
    ),
    "number for a boolean": (
        f"{A}autostart = 1\n",
        *(3, "agents.a.autostart", "expected true or false, found the number 1", ""),
    ),
    "number for a string": (
        f"{A}umask = 22\n",
        *(3, "agents.a.umask", "expected a string, found the number 22", '"22"'),
    ),
    "string for a list": (
        f'{A}tags = "shop"\n',
        *(3, "agents.a.tags", "expected a list, found a string", ""),
    ),
    "number in a list": (
        f'{A}tags = [\n  "shop",\n  7,\n]\n',
        *(5, "agents.a.tags[1]", "expected a string", '"7"'),
    ),
    "table for a value": (
        f"{A}[agents.a.nice]\nx = 1\n",
        *(3, "agents.a.nice", "expected a whole number, found a table", ""),
    ),
    "value for a table": (
        f'{A}restart = "always"\n',
        *(3, "agents.a.restart", "expected a table, found a string", ""),
    ),
    "number for a duration": (
        f"{A}stop_timeout = 30\n",
        *(3, "agents.a.stop_timeout", 'a string such as "90s"', ""),
    ),
    "negative duration": (
        f'{A}stop_timeout = "-5s"\n',
        *(3, "agents.a.stop_timeout", "not a duration", ""),
    ),
    "duration without unit": (
        f'{A}stop_timeout = "30"\n',
        *(3, "agents.a.stop_timeout", "not a duration", ""),
    ),
    "endless duration": (
        f'{A}restart.cooldown = "9999d"\n',
        *(3, "agents.a.restart.cooldown", "longer than ten years", ""),
    ),
    "startup without time": (
        f'{A}startup_timeout = "0s"\n',
        *(3, "agents.a.startup_timeout", "longer than nothing", ""),
    ),
    "bad size": (
        f'{A}memory.limit = "512X"\n',
        *(3, "agents.a.memory.limit", "not a size", ""),
    ),
    "negative size": (
        f'{A}memory.limit = "-1M"\n',
        *(3, "agents.a.memory.limit", "not a size", ""),
    ),
    "negative money": (
        f"{A}budget.usd_per_day = -1\n",
        *(3, "agents.a.budget.usd_per_day", "not an amount in dollars", ""),
    ),
    "money that is no number": (
        f"{A}budget.usd_per_day = nan\n",
        *(3, "agents.a.budget.usd_per_day", "not an amount in dollars", ""),
    ),
    "factor that is no number": (
        f"{A}restart.backoff = nan\n",
        *(3, "agents.a.restart.backoff", "nan is out of bounds", ""),
    ),
    "infinite factor": (
        f"{A}cost.spike_factor = inf\n",
        *(3, "agents.a.cost.spike_factor", "inf is out of bounds", ""),
    ),
    "share above one": (
        f"{A}restart.jitter = 1.5\n",
        *(3, "agents.a.restart.jitter", "must be at most 1", ""),
    ),
    "no failures": (
        f"{A}restart.failures_max = 0\n",
        *(3, "agents.a.restart.failures_max", "must be at least 1", ""),
    ),
    "no such policy": (
        f'{A}restart.policy = "on_failure"\n',
        *(3, "agents.a.restart.policy", "'on_failure' is not one of", '"on-failure"'),
    ),
    "thresholds the wrong way round": (
        f'{A}[agents.a.heartbeat]\ndegraded_after = "10m"\n',
        *(4, "agents.a.heartbeat.degraded_after", "shorter than unreachable_after", ""),
    ),
    "hasty sampling": (
        f'{A}memory.sample = "1ms"\n',
        *(3, "agents.a.memory.sample", "at least 10ms", ""),
    ),
    "short cap on cooldowns": (
        f'{A}restart = {{ cooldown = "5m", cooldown_max = "1m" }}\n',
        *(3, "agents.a.restart.cooldown_max", "not be shorter than cooldown", ""),
    ),
    "no command": ("[agents.a]\nnice = 3\n", 1, "agents.a.command", "missing", "for example"),
    "empty command": (
        "[agents.a]\ncommand = []\n",
        *(2, "agents.a.command", "missing", "for example"),
    ),
    "nameless program": (
        '[agents.a]\ncommand = ["", "x"]\n',
        *(2, "agents.a.command", "the name of the program is empty", ""),
    ),
    "open quote": (
        '[agents.a]\ncommand = "python \'x"\n',
        *(2, "agents.a.command", "can't be split into words", "close the quote"),
    ),
    "NUL in a command": (
        '[agents.a]\ncommand = ["x\\u0000"]\n',
        *(2, "agents.a.command", "NUL", ""),
    ),
    "unknown dependency": (
        f'{A}depends_on = ["inventry"]\n[agents.inventory]\ncommand = ["x"]\n',
        *(3, "agents.a.depends_on[0]", 'no agent "inventry"', '"inventory"'),
    ),
    "impossible dependency": (
        f'{A}depends_on = ["A B"]\n',
        *(3, "agents.a.depends_on[0]", "can't be the name", ""),
    ),
    "dependency on itself": (
        f'{A}depends_on = ["a"]\n',
        *(3, "agents.a.depends_on[0]", "waits for itself: a → a", ""),
    ),
    "circle": (
        f'{A}depends_on = ["b"]\n[agents.b]\ncommand = ["x"]\ndepends_on = ["a"]\n',
        *(3, "agents.a.depends_on[0]", "waits for itself: a → b → a", "depends_on"),
    ),
    "unknown signal": (
        f'{A}stop_signal = "TERM"\n',
        *(3, "agents.a.stop_signal", "not the name of a signal", '"SIGTERM"'),
    ),
    "signal that stops nothing": (
        f'{A}stop_signal = "SIGSTOP"\n',
        *(3, "agents.a.stop_signal", "doesn't stop", ""),
    ),
    "umask that isn't octal": (
        f'{A}umask = "088"\n',
        *(3, "agents.a.umask", "not an octal mask", '"022"'),
    ),
    "unknown limit": (
        f"{A}limits = {{ nofiles = 10 }}\n",
        *(3, "agents.a.limits.nofiles", "unknown limit", '"nofile"'),
    ),
    "negative limit": (
        f"{A}limits.nofile = -1\n",
        *(3, "agents.a.limits.nofile", "must be between 0 and", ""),
    ),
    "priority out of bounds": (
        f"{A}nice = 20\n",
        *(3, "agents.a.nice", "must be at most 19", ""),
    ),
    "exit code out of bounds": (
        f"{A}success_exit_codes = [0, 256]\n",
        *(3, "agents.a.success_exit_codes[1]", "must be at most 255", ""),
    ),
    "number in the environment": (
        f"{A}environment = {{ PORT = 80 }}\n",
        *(3, "agents.a.environment.PORT", "expected a string", '"80"'),
    ),
    "variable without a name": (
        f'{A}environment = {{ "A=B" = "x" }}\n',
        *(3, 'agents.a.environment."A=B"', "not a name", ""),
    ),
    "variable of ours": (
        f'{A}environment = {{ AGENTD_TOKEN = "x" }}\n',
        *(3, "agents.a.environment.AGENTD_TOKEN", "set by agentd itself", "leave it out"),
    ),
    "NUL in the environment": (
        f'{A}environment = {{ X = "a\\u0000" }}\n',
        *(3, "agents.a.environment.X", "NUL", ""),
    ),
    "missing environment file": (
        f'{A}environment_files = ["no.env"]\n',
        *(3, "agents.a.environment_files[0]", "no such file", ""),
    ),
    "heartbeats that nobody sends": (
        f'{A}ready = "heartbeat"\nheartbeat.required = false\n',
        *(3, "agents.a.ready", "not required", '"notify"'),
    ),
    "external with a command": (
        '[agents.a]\nexternal = true\ncommand = ["x"]\n',
        *(3, "agents.a.command", "isn't started by agentd", "leave out command"),
    ),
    "token file of an own agent": (
        f'{A}token_file = "t"\n',
        *(3, "agents.a.token_file", "only external agents", ""),
    ),
    "odd tag": (f'{A}tags = ["a b"]\n', 3, "agents.a.tags[0]", "can't be a tag", ""),
    "tiny log": (f'{A}logs.max_size = "1K"\n', 3, "agents.a.logs.max_size", "at least 4K", ""),
    "odd name": (
        '[agents."Order Processor"]\ncommand = ["x"]\n',
        *(1, 'agents."Order Processor"', "lower-case letters", '"order-processor"'),
    ),
    "name that is a selector": (
        '[agents.all]\ncommand = ["x"]\n',
        *(1, "agents.all", "the selector of every agent", ""),
    ),
    "agents that are no tables": ("agents = 3\n", 1, "agents", "expected tables", ""),
    "unknown time zone": (
        '[daemon]\ntimezone = "Europe/Berln"\n',
        *(2, "daemon.timezone", "not an IANA time zone", '"Europe/Berlin"'),
    ),
    "time zone that is a path": (
        '[daemon]\ntimezone = "../../etc/passwd"\n',
        *(2, "daemon.timezone", "not an IANA time zone", ""),
    ),
    "no such log level": (
        '[daemon]\nlog_level = "warn"\n',
        *(2, "daemon.log_level", "'warn' is not one of", '"warning"'),
    ),
    "negative rate": (
        "[daemon]\nline_rate = -1\n",
        *(2, "daemon.line_rate", "must be at least 0", ""),
    ),
    "bad default": (
        f'[defaults]\nstop_signal = "TERM"\n{A}',
        *(2, "defaults.stop_signal", "not the name of a signal", '"SIGTERM"'),
    ),
    "unknown default": (
        "[defaults.heartbeat]\nintervall = 3\n",
        *(2, "defaults.heartbeat.intervall", "unknown option", '"interval"'),
    ),
    "breaker that never counts": (
        '[breakers.openai]\nwindow = "0s"\n',
        *(2, "breakers.openai.window", "longer than nothing", ""),
    ),
    "unknown option of a breaker": (
        "[breakers.openai]\nfailure = 3\n",
        *(2, "breakers.openai.failure", "unknown option", '"failures"'),
    ),
    "negative price": (
        '[prices."gpt-4.1"]\ninput = -1.0\n',
        *(2, 'prices."gpt-4.1".input', "not an amount in dollars", ""),
    ),
    "sink without a type": (
        '[[alerts.sinks]]\nname = "ops"\n',
        *(1, "alerts.sinks[0].type", "missing", ""),
    ),
    "sink of no type": (
        '[[alerts.sinks]]\nname = "ops"\ntype = "slak"\n',
        *(3, "alerts.sinks[0].type", "'slak' is not one of", '"slack"'),
    ),
    "sink without a place": (
        f'{SINK}[[alerts.sinks]]\nname = "b"\ntype = "slack"\n',
        *(5, "alerts.sinks[1]", "needs url or url_file", ""),
    ),
    "two sinks of one name": (
        SINK + SINK,
        *(6, "alerts.sinks[1].name", 'second sink named "a"', ""),
    ),
    "report at no time": (
        '[report]\nat = "25:00"\n',
        *(2, "report.at", "not of the form", 'HH:MM, such as "08:00"'),
    ),
    "called without a pause": (
        '[report]\nping_every = "900ms"\n',
        *(2, "report.ping_every", "at least 1s", '"5m"'),
    ),
    "a space in what is called": (
        '[report]\nping_url = "https://h/a b"\n',
        *(2, "report.ping_url", "no space", ""),
    ),
    "listening to the world": (
        '[http]\nlisten = "0.0.0.0:80"\n',
        *(2, "http.listen", "needs a token", "127.0.0.1"),
    ),
    "a port too far": (
        '[http]\nlisten = "127.0.0.1:99999"\n',
        *(2, "http.listen", "not an address and a port", ""),
    ),
    "listening on no host": (
        '[http]\nlisten = ":8484"\ntoken_file = "t"\n',
        *(2, "http.listen", "not an address and a port", "127.0.0.1:8484"),
    ),
    "an address of one interface": (
        '[http]\nlisten = "[fe80::1%1]:8484"\ntoken_file = "t"\n',
        *(2, "http.listen", "not an address and a port", ""),
    ),
    "everybody may change something": (
        '[http]\nlisten = "127.0.0.1:80"\noperate = true\n',
        *(3, "http.operate", "has to show a token", "http.token_file"),
    ),
    "a host with a port": (
        '[http]\nallowed_hosts = ["a.example", "https://b.example:80"]\n',
        *(2, "http.allowed_hosts[1]", "not the name of a host", "without scheme and port"),
    ),
    "a file with a NUL": (
        '[http]\ntoken_file = "a\\u0000b"\n',
        *(2, "http.token_file", "NUL character", ""),
    ),
    "a dot in a fleet's name": (
        '[fleet]\nname = "machine.1"\n',
        *(2, "fleet.name", "letters, digits, - and _ only", "a dot would divide"),
    ),
    "a server of another kind": (
        '[fleet]\nnats = ["http://h:4222"]\n',
        *(2, "fleet.nats[0]", "not a NATS URL", "tls://HOST:4222"),
    ),
    "lost before it is seen": (
        '[fleet]\nttl = "900ms"\n',
        *(2, "fleet.ttl", "at least 1s", '"10s"'),
    ),
    "a prefix that is no word": (
        '[fleet]\nprefix = "a.b"\n',
        *(2, "fleet.prefix", "one word", ""),
    ),
    "half of TLS": ('[http]\ntls_cert = "c.pem"\n', 2, "http.tls_cert", "needs tls_key", ""),
    "host that is an option": (
        '[fleet.hosts]\nx = "-oProxyCommand=evil"\n',
        *(2, "fleet.hosts.x", "not a host", ""),
    ),
    "not TOML": ("[daemon]\nsocket = \n", 2, "", "Invalid value at column 10", ""),
    "cut off": ("[daemon]\nsocket = '''\n", 2, "", "at the end of the file", ""),
    "option twice": ("[daemon]\nwatch = true\nwatch = true\n", 3, "", "overwrite", ""),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_file_line_key_and_remedy(
    name: str, read: Read, tmp_path: Path
) -> None:
    main, line, key, message, hint = MISTAKES[name]
    loaded = read(main)
    found = [error for error in loaded.errors if error.key == key and error.line == line]
    assert found, [error.text() for error in loaded.errors]
    assert found[0].file == str(tmp_path / "agentd.toml")
    assert message in found[0].message
    assert hint in found[0].hint


@pytest.mark.parametrize("name", MISTAKES)
def test_one_mistake_is_told_once(name: str, read: Read) -> None:
    members_of_a_circle = 2 if name == "circle" else 1
    assert len(read(MISTAKES[name][0]).errors) == members_of_a_circle


def test_an_error_reads_as_where_what_and_what_instead(read: Read, tmp_path: Path) -> None:
    loaded = read(researcher='command = "x"\n[restart]\ncooldwn = "5m"\n')
    (error,) = loaded.errors
    assert error.text() == (
        f"agentd: {tmp_path}/agents.d/researcher.toml:3: "
        'agents.researcher.restart.cooldwn: unknown option\n  hint: did you mean "cooldown"?'
    )


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "agentd.toml").write_bytes(b"[daemon]\nsocket = '\xff'\n")
    (error,) = load(tmp_path / "agentd.toml").errors
    assert (error.line, error.message) == (2, "not UTF-8: byte 0xff")


def test_a_missing_file_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    loaded = load(tmp_path / "agentd.toml")
    (error,) = loaded.errors
    assert "no such file" in error.message
    assert not loaded.is_usable


@pytest.mark.parametrize("config_file", [None, Path("/nonexistent/agentd.toml")])
def test_no_file_at_all_is_an_empty_config(config_file: Path | None) -> None:
    loaded = load(config_file, required=False)
    assert loaded.errors == []
    assert loaded.is_usable
    assert loaded.config.agents == {}
