"""What passed through the sockets, and what did not: shown by `agentctl daemon`."""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counters:
    """Counts since the daemon started."""

    connections_accepted: int = 0
    connections_refused: int = 0
    """Over a limit, or out of file descriptors."""
    connections_strangers: int = 0
    """Closed because they may do nothing here."""
    connections_empty: int = 0
    """Ended without having said anything."""
    connections_late: int = 0
    """Closed because a line did not come, or did not end, in time."""
    connections_slow: int = 0
    """Closed because they did not read what they were sent."""
    accept_pauses: int = 0
    """Times that no file descriptor was left to accept with."""
    lines: int = 0
    """Lines of agents that were taken."""
    lines_bad: int = 0
    lines_overlong: int = 0
    lines_unended: int = 0
    """Begun when the connection ended; ignored."""
    lines_dropped: int = 0
    """Over the agent's rate; their tokens and cost were counted."""
    lines_delayed: int = 0
    lines_skewed: int = 0
    """Heartbeats whose `ts` is minutes away from our clock; only receipt counts, so it is noted."""
    lines_dead: int = 0
    """From incarnations that have ended."""
    lines_refused: int = 0
    """By somebody who may not, or may not say that."""
    commands: int = 0
    commands_bad: int = 0
    commands_unknown: int = 0
    commands_forbidden: int = 0
    commands_busy: int = 0
    commands_replayed: int = 0
    commands_conflicting: int = 0
    notifications: int = 0
    notifications_bad: int = 0
    """Empty, too long, or not understood."""
    notifications_refused: int = 0
    """From somebody who is not that agent."""
    fds_closed: int = 0
    """Sent along by agents; none is ever kept."""
    faults: int = 0
    """Errors of ours while handling one connection."""

    @property
    def rejected(self) -> int:
        """Lines and commands that were not taken, for the one figure in `status`."""
        return (
            self.lines_bad
            + self.lines_overlong
            + self.lines_dead
            + self.lines_refused
            + self.commands_bad
            + self.commands_unknown
            + self.commands_forbidden
        )

    def as_dict(self) -> dict[str, int]:
        return asdict(self)
