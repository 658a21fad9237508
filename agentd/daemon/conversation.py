"""What is made of the lines of one connection: who speaks, may it, and not too fast.

Whose lines they are is the channel's word first (process tree, cgroup), a token's second,
and never a field's. A token turns the connection into that agent's for good. Lines over an
agent's rate are dropped, and what they say was spent is passed on; a line that waits for an
answer is delayed instead.
"""

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from agentd.core.lines import Call, CheckpointPut, Heartbeat, Line, Question
from agentd.daemon.clock import wall_ms
from agentd.daemon.exchange import Exchange
from agentd.daemon.followers import FOLLOWERS_MAX
from agentd.daemon.log import log
from agentd.daemon.peers import RANK, Role
from agentd.daemon.rates import Bucket
from agentd.daemon.refusals import Refusal
from agentd.daemon.registry import Incarnation
from agentd.daemon.replays import Verdict
from agentd.wire import replies
from agentd.wire.commands import Command, NamedCommand, named_command
from agentd.wire.limits import LineId
from agentd.wire.lines import AgentLine, BadLine, CommandLine, Decoded

if TYPE_CHECKING:
    from agentd.daemon.connections import Connection
    from agentd.daemon.hall import Hall

WHO: Final = "nobody knows who speaks here: send your AGENTD_TOKEN as `token`"
WHO_HINT: Final = "agentd puts AGENTD_TOKEN into the environment of what it starts"
STRANGER: Final = "you may not use agentd here"
# Answers that one connection may wait for; nobody honest waits for so many.
WAITING_MAX: Final = 256

# Clocks that nobody sets drift apart by some seconds a day; what is further off is worth a count.
SKEW_MS_MAX: Final = 60_000

UNFOLLOW: Final = "unfollow"

ENDED: Final = "this incarnation has ended; its lines don't count any more"


class Conversation:
    """Judges the lines of one connection, in order."""

    __slots__ = (
        "_allowed",
        "_batch",
        "_bucket",
        "_connection",
        "_dropped",
        "_granted",
        "_hall",
        "_replies",
    )

    def __init__(self, hall: "Hall", connection: "Connection") -> None:
        self._hall = hall
        self._connection = connection
        self._bucket: Bucket | None = None
        """The rate of whoever speaks; None while nobody knows who does."""
        self._granted = 0
        self._allowed = 0
        self._batch: list[Line] = []
        self._dropped: list[Line] = []
        self._replies: list[bytes] = []

    def take(self, lines: Sequence[Decoded], *, paid: bool = False) -> None:
        """Judge lines; `paid`: the first has waited for its turn.

        Where a line has to wait, the connection is told to hold it and all that follow.
        """
        speaker = self._connection.incarnation
        if speaker is not None and not self._hall.registry.is_live(speaker):
            self._refuse_the_dead(lines)
            return
        self._open_turn(speaker)
        allowed = self._allowed + paid
        add = self._batch.append
        for index, line in enumerate(lines):
            # This way goes nearly everything that ever comes.
            if type(line) is Heartbeat and allowed > 0:
                allowed -= 1
                add(line)
                continue
            self._allowed = allowed
            wait_ms = self._take_one(line)
            allowed = self._allowed
            if wait_ms:
                self._connection.hold(lines[index:], wait_ms)
                break
            if self._connection.finishing:
                break
        self._allowed = allowed
        self._deliver()

    def _open_turn(self, speaker: Incarnation | None) -> None:
        """Find out how many lines may pass now."""
        if speaker is None:
            self._bucket, self._granted = None, 0
        else:
            self._bucket = self._hall.visitors.line_bucket(speaker.agent)
            self._granted = self._bucket.allowed(self._hall.now_ms())
        self._allowed = self._granted

    def _take_one(self, line: Decoded) -> int:
        """Judge one line; return in how many milliseconds its turn comes, 0 for done."""
        if isinstance(line, BadLine):
            self._answer_bad(line)
        elif isinstance(line, CommandLine):
            return self._take_turn() or self._command(line)
        elif isinstance(line, Heartbeat):
            return self._take_said(AgentLine(line))
        elif self._identify(line):
            return self._take_said(line)
        return 0

    def _take_said(self, said: AgentLine) -> int:
        """Pass on what an agent says, if anybody knows which agent that is."""
        if self._bucket is None:
            self._refuse(said.id, WHO)
            return 0
        if self._allowed <= 0 and said.id is None:
            self._dropped.append(said.line)
            return 0
        return self._take_turn() or self._pass_on(said)

    def _take_turn(self) -> int:
        """Use up one place within the rate, or say how long to wait for one."""
        if self._bucket is None:
            return 0
        if self._allowed <= 0:
            self._hall.counters.lines_delayed += 1
            return self._bucket.take_in_advance()
        self._allowed -= 1
        return 0

    def _pass_on(self, said: AgentLine) -> int:
        # A state may be large: whether it is answered or not, what waits of them is bounded.
        if isinstance(said.line, Question) and (
            said.id is not None or isinstance(said.line, CheckpointPut)
        ):
            self._ask(said.line, said.id)
            return 0
        self._batch.append(said.line)
        self._hall.counters.lines_skewed += is_skewed(said.line)
        if said.id is not None:
            self._replies.append(replies.ok(said.id))
        return 0

    def _ask(self, line: Question, line_id: LineId | None) -> None:
        """Hand on a question, after all that was said before it."""
        self._deliver()
        speaker = self._connection.incarnation
        assert speaker is not None
        self._hall.counters.lines += 1
        self._hall.handler.asked(speaker.agent, speaker.ordinal, line, line_id, self._connection)

    def _deliver(self) -> None:
        """Hand on what was taken so far, then answer it."""
        batch, dropped = self._batch, self._dropped
        speaker = self._connection.incarnation
        if self._bucket is not None:
            self._bucket.take(self._granted - self._allowed)
            self._granted = self._allowed
        if batch:
            assert speaker is not None
            self._batch = []
            self._hall.counters.lines += len(batch)
            self._hall.handler.lines(speaker.agent, speaker.ordinal, batch)
        if dropped:
            assert speaker is not None
            self._dropped = []
            self._hall.counters.lines_dropped += len(dropped)
            spent = [line for line in dropped if speaks_of_usage(line)]
            self._hall.handler.dropped(speaker.agent, speaker.ordinal, len(dropped), spent)
        if self._replies:
            sent, self._replies = self._replies, []
            self._connection.send(b"".join(sent))

    # Who speaks.

    def _identify(self, said: AgentLine) -> bool:
        """Check what a line says of its sender; a token may make the sender known."""
        if said.token is not None and not self._heed_token(said):
            return False
        me = self._connection.incarnation
        if me is None:
            return True
        if said.agent not in (None, me.agent):
            told = f'"{me.agent}" may not speak for "{said.agent:.80}"'
            self._refuse(said.id, told, kind="agent")
            return False
        if said.incarnation not in (None, me.id):
            told = f'"{me.agent}" may not speak for another incarnation'
            self._refuse(said.id, told, kind="incarnation")
            return False
        return True

    def _heed_token(self, said: AgentLine) -> bool:
        registry, me = self._hall.registry, self._connection.incarnation
        assert said.token is not None
        found = registry.by_token(said.token)
        if found is None and registry.was_issued(said.token):
            self._hall.counters.lines_dead += 1
            self._replies.append(replies.failed(said.id, "forbidden", ENDED))
            self._let_go_of_stranger()
        elif found is None or not self._uid_fits(found):
            self._refuse(said.id, "the token is not good here", kind="token")
        elif me is None:
            return self._become(found, said)
        elif me is found:
            return True
        else:
            told = f'"{me.agent}" may not use the token of "{found.agent}"'
            self._refuse(said.id, told, kind="token")
        return False

    def _uid_fits(self, found: Incarnation) -> bool:
        return found.uid is None or self._connection.peer.uid in (0, found.uid)

    def _become(self, found: Incarnation, said: AgentLine) -> bool:
        """Make the connection that agent's for good; its role is an agent's from now on."""
        refused = self._hall.visitors.become(self._connection, found)
        if refused:
            self._hall.counters.connections_refused += 1
            self._connection.send(replies.failed(said.id, "too_busy", refused))
            self._connection.finish()
            return False
        self._connection.become_agent()
        self._open_turn(found)
        return True

    def _refuse(self, line_id: LineId | None, told: str, *, kind: str = "") -> None:
        """Refuse a line; `kind` makes it a matter of security."""
        self._hall.counters.lines_refused += 1
        if line_id is not None or self._is_stranger:
            hint = WHO_HINT if told is WHO else ""
            self._replies.append(replies.failed(line_id, "forbidden", told, hint))
        if kind:
            self._tell_refusal(kind, told)
        self._let_go_of_stranger()

    def _refuse_the_dead(self, lines: Sequence[Decoded]) -> None:
        self._hall.counters.lines_dead += len(lines)
        for line in lines:
            if not isinstance(line, Heartbeat) and line.id is not None:
                self._connection.send(replies.failed(line.id, "forbidden", ENDED))
        self._connection.finish()

    @property
    def _is_stranger(self) -> bool:
        return self._connection.peer.role is Role.NONE

    def _let_go_of_stranger(self) -> None:
        if self._is_stranger:
            self._hall.counters.connections_strangers += 1
            self._deliver()
            self._connection.finish()

    def _tell_refusal(self, kind: str, told: str) -> None:
        peer, me = self._connection.peer, self._connection.incarnation
        agent, ordinal = (me.agent, me.ordinal) if me else (None, None)
        refusal = Refusal(kind, told, peer.uid, peer.pid, agent, ordinal)
        self._hall.refusals.add(refusal, self._hall.now_ms())

    def _answer_bad(self, bad: BadLine) -> None:
        self._hall.counters.lines_bad += 1
        if bad.id is not None or self._is_stranger:
            code = "forbidden" if self._is_stranger else bad.code
            self._replies.append(replies.failed(bad.id, code, bad.message))
        self._let_go_of_stranger()

    # Commands.

    def _command(self, line: CommandLine) -> int:
        """Carry out a command, or say why not. What was said before it is delivered first."""
        self._deliver()
        try:
            named = named_command(line.raw, line.id)
            self._check_may(named)
            command = named.checked()
            self._check_room(command)
            self._carry_out(command)
        except BadLine as bad:
            self._count_refused(bad)
            # A stranger learns nothing of what is there and what isn't.
            code, told = ("forbidden", STRANGER) if self._is_stranger else (bad.code, bad.message)
            self._connection.send(replies.failed(bad.id, code, told, hint_of(code)))
        self._let_go_of_stranger()
        return 0

    def _check_may(self, named: NamedCommand) -> None:
        """Raise `BadLine` for a command that this peer may not send, whatever is in it."""
        peer = self._connection.peer
        if RANK[peer.role] < RANK[Role(named.needs)]:
            if peer.role is Role.AGENT:
                self._tell_refusal("command", f"an agent may not {named.cmd}")
            what = "read traces" if named.traces else named.cmd
            raise BadLine("forbidden", f"role {peer.role} may not {what}", named.id)
        if named.internal and named.internal != peer.internal:
            raise BadLine("forbidden", f"{named.cmd} is for {named.internal} alone", named.id)
        if peer.role is not Role.AGENT:
            bucket = self._hall.visitors.command_bucket(peer)
            if not bucket.allowed(self._hall.now_ms()):
                raise BadLine("too_busy", "more than 50 commands a second", named.id)
            bucket.take()

    def _check_room(self, command: Command) -> None:
        """Raise `BadLine` for a command that there is no room for now."""
        if command.follow and self._hall.visitors.followers >= FOLLOWERS_MAX:
            raise BadLine("too_busy", f"{FOLLOWERS_MAX} followers are the most", command.id)
        if self._connection.waiting >= WAITING_MAX:
            raise BadLine("too_busy", f"{WAITING_MAX} commands wait on this connection", command.id)

    def _carry_out(self, command: Command) -> None:
        connection, hall = self._connection, self._hall
        peer, now_ms = connection.peer, hall.now_ms()
        if command.mutates:
            verdict = hall.replays.begin(peer.uid, command, connection.send, now_ms)
            if verdict is Verdict.CONFLICT:
                told = f"the id {command.id!r} was used for another command"
                raise BadLine("conflict", told, command.id)
            if verdict is Verdict.TOLD:
                hall.counters.commands_replayed += 1
                return
        hall.counters.commands += 1
        exchange = Exchange(connection, command)
        if command.cmd == UNFOLLOW:  # a matter of this connection alone
            ended = connection.unfollow(command.args["id"])
            exchange.send(replies.ok(command.id, {"ended": ended}))
            return
        connection.begin(exchange)
        try:
            hall.handler.command(exchange)
        except Exception as error:  # noqa: BLE001 - a bug of ours costs one answer, no more
            hall.counters.faults += 1
            log.error("command.fault", cmd=command.cmd, error=traceback.format_exc(limit=-3))
            told = log.mask(f"{command.cmd}: {error!r}")
            exchange.send(replies.failed(command.id, "internal", told))

    def _count_refused(self, bad: BadLine) -> None:
        counters = self._hall.counters
        if bad.code == "unknown_command":
            counters.commands_unknown += 1
        elif bad.code == "forbidden":
            counters.commands_forbidden += 1
        elif bad.code == "too_busy":
            counters.commands_busy += 1
        elif bad.code == "conflict":
            counters.commands_conflicting += 1
        else:
            counters.commands_bad += 1


def speaks_of_usage(line: Line) -> bool:
    """Whether a line tells what was spent, or ends a cycle: that counts, dropped or not."""
    if isinstance(line, Call):
        return line.usage is not None or line.cost_micros is not None
    return isinstance(line, Heartbeat)


def hint_of(code: str) -> str:
    """Return what to do about a command that was refused."""
    if code == "forbidden":
        return "run it as root, as the daemon's user, or as a member of its operator group"
    if code == "unknown_command":
        return "agentctl --help lists what this version has"
    return "try again in a moment" if code == "too_busy" else ""


def is_skewed(line: Line) -> bool:
    """Whether a heartbeat tells a time that our clock is far from."""
    if not isinstance(line, Heartbeat) or line.sent_at_s is None:
        return False
    return abs(line.sent_at_s * 1000 - wall_ms()) > SKEW_MS_MAX
