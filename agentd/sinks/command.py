"""The sink `command`: a command of the config, with the message as a JSON document on its stdin.

No shell has a hand in it. Exit code 0 is a delivery; anything else, and more than
`TIMEOUT_MS`, is none, and its whole session is killed.
"""

from dataclasses import dataclass
from typing import Final

from agentd.config.argv import argv
from agentd.config.schema import SinkConfig
from agentd.sinks.document import document
from agentd.sinks.message import DeliveryFailed, Message, Program, Resources

TIMEOUT_MS: Final = 30_000


@dataclass(slots=True)
class Command:
    """One command."""

    config: SinkConfig
    resources: Resources

    def deliver(self, message: Message) -> None:
        words = tuple(argv(self.config.command))
        ended = self.resources.run(Program(words, document(message), TIMEOUT_MS))
        if not ended.ok:
            raise DeliveryFailed(f"the command {ended.told}")
