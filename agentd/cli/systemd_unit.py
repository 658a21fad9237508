"""The systemd unit, written once: `agentd unit` prints it, contrib/systemd holds two copies.

Why it looks the way it does, and what was measured: docs/decisions/0002-systemd.md. In short:
the agents live in a second unit, `agentd-agents.service`, which holds nothing but a sleeping
process and a delegated control group. In a group of its own the daemon can die, be killed by
the watchdog and come back without systemd touching an agent; in a common one, systemd cannot
start it again while an agent lives.
"""

from typing import Final

AGENTS_UNIT: Final = "agentd-agents.service"

_UNIT: Final = """\
# {name}: written by `agentd unit{option}`.
[Unit]
Description=agentd, supervisor of AI agents
Wants={agents}
After=network.target {agents}
# Never give up: the agents live on while the daemon is away.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
{identity}# The agents' own unit; the daemon moves them there. With the last need for it it is
# stopped, and with it whatever a daemon that was killed in a stop has left behind.
ExecStartPre=-+/bin/sh -c 'systemctl is-active -q {agents} || exec systemd-run -q --collect \\
    --unit={agents} --slice=agentd.slice --description="the agents of agentd" \\
    -p Type=exec -p Delegate=yes -p StopWhenUnneeded=yes -p Restart=always -p OOMPolicy=continue \\
    -p OOMScoreAdjust=-900 {agents_identity}sleep infinity'
{migration}Environment=AGENTD_CGROUP=../{agents}
Slice=agentd.slice
ExecStart={start}
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec=20
Restart=always
RestartSec=1
# Only the daemon gets the signal: it stops its agents itself, in order.
KillMode=process
# Longer than the longest stop_timeout.
TimeoutStopSec=150
FileDescriptorStoreMax=1024
UMask=0077
RuntimeDirectory=agentd
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=restart
StateDirectory=agentd
StateDirectoryMode=0700
LogsDirectory=agentd
LogsDirectoryMode=0750
ConfigurationDirectory=agentd
OOMScoreAdjust=-900
OOMPolicy=continue
LimitNOFILE=65536
LimitCORE=0
# Every line from here on holds for the agents too; docs/operations.md says what was left out.
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
ProtectSystem=strict
ReadWritePaths=-/tmp -/var/tmp
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectClock=yes
ProtectHostname=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=~@clock @module @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK

[Install]
WantedBy=multi-user.target
"""

# To start agents as their users, signal and limit them, read the kernel's log of OOM kills, and
# read the environment of a peer: without CAP_SYS_PTRACE that of a root with more capabilities
# than ours is hidden, and whoever may be an agent in disguise is no operator.
_CAPABILITIES: Final = (
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_KILL",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RESOURCE",
    "CAP_SYSLOG",
)

# A process may only be moved by whoever may write to the group above both ends.
_MIGRATION: Final = (
    "ExecStartPre=-+/bin/chown {user} /sys/fs/cgroup/agentd.slice/cgroup.procs\n"  # one line
)


def unit_text(start: str, user: str | None = None) -> str:
    """Return agentd.service for a system whose systemd runs `start`.

    Without `user` the daemon is root with eight capabilities and starts every agent as the
    agent's own user; with one, the daemon and all agents are that user, without privileges.
    """
    return _UNIT.format(
        name="agentd.service",
        option=f" --user {user}" if user else "",
        agents=AGENTS_UNIT,
        start=start,
        identity=f"User={user}\n" if user else "",
        agents_identity=f"-p User={user} " if user else "",
        migration=_MIGRATION.format(user=user) if user else "",
        capabilities="" if user else " ".join(_CAPABILITIES),
    )


def quoted(word: str) -> str:
    """Return `word` as systemd reads it back in a command line."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(c in escaped for c in " \t'\"\\;") else escaped
