"""The way out: answers to who asked, control lines to agents, durable events to followers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentd.core.effects import Control, Effect, Recall, Reply
from agentd.core.events import Event, Requested
from agentd.core.records import Record
from agentd.daemon.followers import Followers
from agentd.daemon.questions import PREFIX as QUESTION
from agentd.daemon.questions import Questions
from agentd.daemon.recalls import Recalls
from agentd.daemon.requests import Requests
from agentd.store.rows import Outcome, Row, event_document


@dataclass(slots=True)
class Voices:
    """What the performer is given to speak with."""

    requests: Requests
    questions: Questions
    followers: Followers
    host: str
    to_agent: Callable[[Control], None]
    """Sends a control line to every connection of an incarnation."""
    recalls: Recalls

    def rows(self, event: Event, effects: Sequence[Effect]) -> list[Row]:
        """Return the answer to a command, to be kept with what it decided."""
        if not isinstance(event, Requested):
            return []
        for effect in effects:
            if isinstance(effect, Reply) and effect.request == event.request:
                row = self.requests.row(effect)
                return [row] if row is not None else []
        return []

    def reply(self, effect: Reply, storage_error: str) -> None:
        if effect.request.startswith(QUESTION):
            self.questions.reply(effect, storage_error)
        else:
            self.requests.reply(effect, storage_error)

    def control(self, effect: Control) -> None:
        self.to_agent(effect)

    def recall(self, effect: Recall) -> None:
        self.recalls.begin(effect)

    def publish(self, records: Sequence[Record], outcome: Outcome) -> None:
        """Show records that have become durable, in the order of their ids."""
        self.followers.publish(
            [
                event_document(stamp, record, self.host)
                for stamp, record in zip(outcome.stamps, records, strict=True)
            ]
        )
