"""An operator's command to the agents that it names: carried out one by one, answered once."""

from agentd.core import verdicts
from agentd.core.commands import COMMANDS, Conflict, passes_over
from agentd.core.deadlines import Deadlines
from agentd.core.effects import Reply
from agentd.core.events import Requested
from agentd.core.states import StopReason
from agentd.core.turn import Turn


def carry_out(turn: Turn, deadlines: Deadlines, asked: Requested, names: list[str]) -> None:
    """Do what is asked, agent by agent; refused is a command that none of them allows."""
    command = COMMANDS[asked.cmd]
    if asked.cmd == "stop":
        for name in names:
            turn.leaving.setdefault(name, (StopReason.USER_STOPPED, f"by {asked.who}"))
    told: list[dict[str, object]] = []
    refused: list[Conflict] = []
    for name in names:
        agent = turn.fleet[name]
        row: dict[str, object] = {"name": name}
        try:
            if passes_over(agent, asked):
                row["message"], row["skipped"] = "is external: left alone", True
            else:
                row["message"] = command(turn, agent, asked)
                turn.announce(turn.incidents.heed(agent, asked.cmd, asked.who, turn.now_ms))
        except Conflict as conflict:
            refused.append(conflict)
            row["message"] = str(conflict)
            row["error"] = {"code": "conflict", "message": str(conflict), "hint": conflict.hint}
        row["state"], row["intent"] = agent.state.value, agent.intent.value
        told.append(row)
        verdicts.judge(turn, agent)
        deadlines.arm(agent, turn.now_ms)
    if refused and len(refused) == len(names):
        why = "; ".join(str(conflict) for conflict in refused)
        turn.do(Reply(asked.request, error=("conflict", why, refused[0].hint)))
    else:
        turn.do(Reply(asked.request, result={"agents": told}))
