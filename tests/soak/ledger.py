"""What operators were promised: the intent of each agent, as acknowledged (INV3, INV5)."""

from dataclasses import dataclass, field

from tests.daemon.harness import Document, Refused
from tests.faults.guard import Fleet

POLICY = "agentd"
"""Who pauses and kills where no operator does."""


@dataclass
class Ledger:
    """Intents as they were acknowledged; what isn't known for sure is in doubt until looked at."""

    intents: dict[str, str] = field(default_factory=dict)
    held: dict[str, bool] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    forgotten: dict[str, int] = field(default_factory=dict)
    """How often an agent's execution may have ended by somebody's word."""
    orders: int = 0
    refused: int = 0
    unanswered: int = 0
    replayed: int = 0

    def begin(self, names: list[str]) -> None:
        self.intents = dict.fromkeys(names, "up")
        self.held = dict.fromkeys(names, False)
        self.forgotten = dict.fromkeys(names, 0)

    def order(
        self, fleet: Fleet, deed: str, name: str, request: str = "", **more: object
    ) -> Document | None:
        """Send one command about one agent and keep what was promised."""
        self.orders += 1
        if deed == "kill" or more.get("fresh"):
            self.forgotten[name] += 1
        try:
            answer = fleet.ask(deed, request=request, select=[name], **more)
        except Refused:
            self.refused += 1
            return None
        except (OSError, ValueError):
            self.unanswered += 1
            self.doubtful.add(name)
            return None
        told: Document = answer["agents"][0]
        if "error" in told:
            self.refused += 1
            return told
        self.intents[name] = told["intent"]
        if deed in ("hold", "unhold"):
            self.held[name] = deed == "hold"
        elif deed == "start":
            self.held.pop(name, None)
        return told

    def compare(self, shown: Document) -> str:
        """What is wrong with what is shown of an agent; empty: nothing."""
        name = shown["name"]
        if name not in self.intents:
            return ""
        if name in self.doubtful or shown["intent_by"] == POLICY:
            self.intents[name] = shown["intent"]
            self.held[name] = shown["held"]
            self.doubtful.discard(name)
            return ""
        if shown["intent"] != self.intents[name]:
            return (
                f"INV5: {name} was promised to be {self.intents[name]}, is {shown['intent']} "
                f"(by {shown['intent_by']}: {shown['intent_reason']})"
            )
        return ""
