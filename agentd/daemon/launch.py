"""What a child gets, and its wait at the gate: everything between the fork and the exec.

The child is `/bin/sh`, run through a symlink of ours: it reads one line from its stdin and
then execs the agent's command. No line, because the daemon died or changed its mind: it
exits, and nothing ran. While it waits, the daemon puts it into its cgroup and sets what is
set from outside. The command's words never become shell text; they are its arguments.

The name of the symlink tells whether an exec ever took place: a process that ends under the
name `agentd-gate` never was the agent, and an agent that exits with 127 has another name.
"""

import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.config.agent import AgentConfig
from agentd.config.argv import argv
from agentd.daemon import host as hosts
from agentd.daemon import limits, persons, pidfds, procfs, programs
from agentd.daemon.programs import SpawnError

GATE_NAME: Final = "agentd-gate"
# How a child ends that was never let go; no success, for whoever sees it must not take it for
# the agent's.
GATE_SHUT: Final = 90
_SHELL: Final = "/bin/sh"
_GO: Final = b"go\n"
# A shell may not keep what it did not understand: such variables go around it, by `env`.
_SHELL_ADDS: Final = ("PWD", "OLDPWD", "SHLVL")
_SHELL_OWN: Final = frozenset(
    ("SHELLOPTS", "BASHOPTS", "BASH_ENV", "ENV", "IFS", "PS4", *_SHELL_ADDS)
)

_PASSED_ON: Final = ("PATH", "LANG", "TZ")
_LOCALE: Final = "LC_"

# Commands of ours that may stand between the gate and the agent, and how they fail.
_PREFIX_FAILURES: Final = (125, 126, 127)


@dataclass(frozen=True, slots=True)
class Outfit:
    """What the daemon adds to what the config says."""

    log_fd: int
    """Where stdout and stderr go."""
    environment: Mapping[str, str]
    """Names and values that win over the config's, such as AGENTD_SOCKET and NOTIFY_SOCKET."""
    directory: str = "/"
    """Where it runs unless its config says."""
    channel_fd: int | None = None
    """A descriptor that it keeps under this very number; None: it gets 0, 1 and 2 alone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A command that passed every check there is before the fork."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    person: persons.Person
    umask: int
    limits: Mapping[int, tuple[int, int]]
    nice: int
    log_fd: int
    channel_fd: int | None


@dataclass(slots=True)
class Gated:
    """A child that waits for its line."""

    identity: pidfds.Identity
    pidfd: int
    gate_fd: int
    """Writing a line lets it go; closing it unwritten ends it. Error-polls when it has gone."""
    prefixes: tuple[str, ...]
    """Names a process has before it is the agent."""

    @property
    def pid(self) -> int:
        return self.identity.pid

    def let_go(self) -> None:
        """Let it exec; one that has died meanwhile is found by its pidfd."""
        try:
            os.write(self.gate_fd, _GO)
        except BrokenPipeError:
            return

    def passed(self) -> bool:
        """Tell whether it has become the agent (or something that it has exec'ed)."""
        stat = procfs.stat_of(self.pid)
        return stat is not None and stat.comm not in self.prefixes

    def ending(self) -> pidfds.Ending | None:
        """Return how it ended, unreaped; None while it lives."""
        return pidfds.peek(self.pidfd)

    def failed(self, ending: pidfds.Ending) -> bool:
        """Tell, of a child not reaped yet, whether it ended without becoming the agent."""
        stat = procfs.stat_of(self.pid)
        if stat is None or stat.comm == GATE_NAME:
            return stat is not None
        return stat.comm in self.prefixes and ending.code in _PREFIX_FAILURES


def install_gate(directory: Path) -> str:
    """Put the symlink into `directory`, which agents' users must be able to search."""
    gate = directory / GATE_NAME
    if not gate.is_symlink() or str(gate.readlink()) != _SHELL:
        fresh = directory / f".{GATE_NAME}.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(_SHELL)
        fresh.replace(gate)
    return str(gate)


def words(command: str | Sequence[str]) -> tuple[str, ...]:
    """Return the command as a list; a string is split as a shell would, and never run by one."""
    try:
        return tuple(argv(command if isinstance(command, str) else list(command)))
    except ValueError as error:
        raise SpawnError(errno.EINVAL, "command", f"{error} in it") from None


def environment(
    person: persons.Person, config: Mapping[str, str], ours: Mapping[str, str]
) -> dict[str, str]:
    """Return a child's whole environment: a few of the daemon's, its user's, its own, ours."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_LOCALE)
    }
    who = {"HOME": person.home, "USER": person.name, "LOGNAME": person.name, "SHELL": person.shell}
    return {"PATH": os.defpath, **passed, **who, **config, **ours}


def plan(config: AgentConfig, outfit: Outfit, host: hosts.Host) -> Plan:
    """Decide all of a child before there is one; SpawnError says what is in the way."""
    who = persons.person(config.user, config.group)
    made = Plan(
        argv=words(config.command),
        cwd=config.directory or outfit.directory,
        env=environment(who, config.environment, outfit.environment),
        person=who,
        umask=int(config.umask, 8),
        limits=limits.wanted(config.limits, host.agent_limits),
        nice=config.nice,
        log_fd=outfit.log_fd,
        channel_fd=outfit.channel_fd,
    )
    if not made.argv:
        raise SpawnError(errno.EINVAL, "command", "it is empty")
    programs.check(made.argv, made.cwd, made.env, who.ids)
    return made


def launch(made: Plan, gate: str, host: hosts.Host) -> Gated:
    """Fork a child that waits at the gate; before it is let go, it has to enter its tree.

    SpawnError: no process is left behind, `shortage` says whether the host was the cause.
    """
    script, prefix = _script(made, host)
    go, gate_fd = os.pipe()
    try:
        child = _fork(made, gate, script, prefix, go)
    except BaseException:
        os.close(gate_fd)
        raise
    finally:
        os.close(go)
    try:
        pidfd = os.pidfd_open(child)
    except OSError as error:
        os.close(gate_fd)  # it reads EOF and exits
        os.waitpid(child, 0)
        raise SpawnError(error.errno or 0, "pidfd_open") from None
    try:
        _dress(child, made, host)
        identity = pidfds.identify(child, pidfd)
        assert identity is not None, "a child of ours has a stat line until it is reaped"
        return Gated(identity, pidfd, gate_fd, (GATE_NAME, *_names(prefix)))
    except BaseException as error:
        os.close(gate_fd)
        pidfds.send(pidfd, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(pidfd)
        if isinstance(error, OSError):
            raise SpawnError(error.errno or 0, str(error.filename or "child")) from error
        raise


def _fork(made: Plan, gate: str, script: str, prefix: Sequence[str], go: int) -> int:
    who = made.person
    try:
        child = subprocess.Popen(
            ["sh", "-c", script, GATE_NAME, *prefix, *made.argv],
            executable=gate,
            stdin=go,
            stdout=made.log_fd,
            stderr=made.log_fd,
            cwd=made.cwd,
            env={name: made.env[name] for name in made.env if not _goes_around(name)},
            umask=made.umask,
            start_new_session=True,
            pass_fds=() if made.channel_fd is None else (made.channel_fd,),
            user=who.ids.uid if who.switch else None,
            group=who.ids.gid if who.switch else None,
            extra_groups=who.ids.groups if who.switch else None,
        )
    except OSError as error:
        subject = str(error.filename or "fork")
        hint = "the gate of agentd; agents' users must be able to reach it"
        raise SpawnError(error.errno or 0, subject, hint if subject == gate else "") from None
    except (ValueError, subprocess.SubprocessError) as error:
        raise SpawnError(errno.EINVAL, str(error)) from None
    child.returncode = 0  # it is reaped through its pidfd, never by the Popen object
    return child.pid


def _script(made: Plan, host: hosts.Host) -> tuple[str, list[str]]:
    """Return the gate's text, and commands of ours that stand before the agent's."""
    lines = [f"read -r go || exit {GATE_SHUT}"]
    prefix: list[str] = []
    if not _in_reach(made, host, hosts.CAP_SYS_RESOURCE):
        lines += limits.shell_lines(made.limits)
    if made.nice and not _in_reach(made, host, hosts.CAP_SYS_NICE):
        prefix += ["nice", "-n", str(made.nice)]
    around = [f"{name}={value}" for name, value in made.env.items() if _goes_around(name)]
    if around:
        prefix += ["env", *around]
    lines += [f"unset {' '.join(_SHELL_ADDS)}", 'exec "$@" </dev/null']
    return "\n".join(lines), prefix


def _goes_around(name: str) -> bool:
    """Tell whether a shell would drop or obey this variable instead of passing it on."""
    return name in _SHELL_OWN or not (name.isascii() and name.isidentifier())


def _names(prefix: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in ("nice", "env") if word in prefix)


def _in_reach(made: Plan, host: hosts.Host, capability: int) -> bool:
    """Tell whether the daemon may change the child from outside."""
    return made.person.ids.uid == os.getuid() or host.may(capability)


def _dress(child: int, made: Plan, host: hosts.Host) -> None:
    """Set from outside what has to be set before the exec."""
    if host.oom_score_adj:
        _reset_oom_score(child)
    if _in_reach(made, host, hosts.CAP_SYS_RESOURCE):
        limits.set_from_outside(child, made.limits)
    if made.nice and _in_reach(made, host, hosts.CAP_SYS_NICE):
        limits.set_nice(child, made.nice)


def _reset_oom_score(child: int) -> None:
    """Make the child no better a victim, and no worse a one, than any other process."""
    try:
        Path(f"/proc/{child}/oom_score_adj").write_text("0", encoding="ascii")
    except PermissionError:
        return  # lower than what a container set needs CAP_SYS_RESOURCE; it stays as that was
