"""Lines of agents whose answer is the core's: each is taken in, and answered if that is wanted."""

from agentd.core import actions, breakers
from agentd.core.agent import Agent
from agentd.core.effects import Reply
from agentd.core.lines import (
    ActionBegun,
    ActionDone,
    BreakerAsk,
    BreakerReport,
    CheckpointGet,
    CheckpointPut,
    Question,
)
from agentd.core.turn import Turn


def take(turn: Turn, agent: Agent, line: Question, request: str = "") -> None:
    """Take in a line of the running incarnation; an empty `request`: nobody waits for an answer.

    The answer leaves when what it promises is durable.
    """
    if isinstance(line, CheckpointGet):
        if request:
            actions.recall(turn, agent, request)
        return
    answer = _answer(turn, agent, line)
    if not request:
        return
    if isinstance(answer, tuple):
        turn.do(Reply(request, error=answer))
    else:
        turn.do(Reply(request, result=answer))


def _answer(
    turn: Turn,
    agent: Agent,
    line: ActionBegun | ActionDone | CheckpointPut | BreakerReport | BreakerAsk,
) -> actions.Answer:
    match line:
        case ActionBegun():
            return actions.begin(turn, agent, line)
        case ActionDone():
            return actions.finish(turn, agent, line)
        case CheckpointPut():
            return actions.keep(turn, agent, line)
        case BreakerReport():
            breakers.report(turn, agent, line)
            return {}
        case BreakerAsk():
            return breakers.answer(turn, agent, line.name)
