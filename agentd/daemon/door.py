"""What comes in through the sockets, as events of the core and commands to be answered."""

import pwd
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from agentd.core.events import Event, LinesDropped, LinesReceived
from agentd.core.lines import Line, Question
from agentd.core.records import Record
from agentd.daemon.exchange import Exchange
from agentd.daemon.log import log
from agentd.daemon.peers import Role
from agentd.daemon.questions import Questions, Speaker
from agentd.daemon.refusals import Refusal
from agentd.daemon.requests import Asked, Requests
from agentd.wire.limits import LineId


@dataclass(slots=True)
class Door:
    """The sockets' handler; each call returns at once."""

    post: Callable[[Event], None]
    note: Callable[[Record], None]
    requests: Requests
    questions: Questions

    def lines(self, agent: str, incarnation: int, lines: list[Line]) -> None:
        self.post(LinesReceived(agent, incarnation, lines))

    def asked(
        self, agent: str, incarnation: int, line: Question, line_id: LineId | None, speaker: Speaker
    ) -> None:
        self.questions.ask(agent, incarnation, line, line_id, speaker)

    def dropped(self, agent: str, incarnation: int, count: int, spent: list[Line]) -> None:
        self.post(LinesDropped(agent, incarnation, count, spent))

    def command(self, exchange: Exchange) -> None:
        peer = exchange.peer
        viewer = peer.role is not Role.OPERATOR
        who = peer.internal or f"{user_name(peer.uid)} (pid {peer.pid})"
        log.debug("command", cmd=exchange.command.cmd, who=who)
        self.requests.handle(Asked(exchange, peer.uid, who, viewer, exchange.command))

    def left(self, exchange: Exchange) -> None:
        self.requests.left(exchange)

    def refused(self, refusal: Refusal) -> None:
        times = f" ({refusal.count} times)" if refusal.count > 1 else ""
        self.note(
            Record(
                event="security.refused",
                severity="warning",
                message=f"{refusal.message}{times}; uid {refusal.uid}, pid {refusal.pid}",
                agent=refusal.agent,
                incarnation=refusal.incarnation,
                data={"kind": refusal.kind, "uid": refusal.uid, "pid": refusal.pid},
            )
        )


@lru_cache(maxsize=256)
def user_name(uid: int) -> str:
    """Return the name of a user, or `uid N` where nobody has named it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
