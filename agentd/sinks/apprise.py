"""The sink `apprise`: the hundred other services, each by a URL of its own.

The library is never imported here: a program of its own (`apprise_child`) loads it, sends, and
ends. So it costs the daemon nothing, and one that hangs is killed.
"""

import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import agentd
from agentd.config.encodable import encodable
from agentd.config.schema import SinkConfig
from agentd.sinks import text
from agentd.sinks.message import DeliveryFailed, Message, Program, Resources
from agentd.sinks.posting import SLOW_RETRY_S
from agentd.sinks.secret_files import filled_lines

PROGRAM: Final = "agentd.sinks.apprise_child"
PACKAGE: Final = "apprise"
# Loading its plugins takes a second of a busy machine; each service has 4 s to connect and 4 s
# to answer, by the library's own default.
TIMEOUT_MS: Final = 30_000
_TYPES: Final = {"critical": "failure", "warning": "warning", "info": "info"}


@dataclass(slots=True)
class Apprise:
    """All services of one file of URLs."""

    config: SinkConfig
    resources: Resources

    def deliver(self, message: Message) -> None:
        if importlib.util.find_spec(PACKAGE) is None:
            told = "the extra is not installed: pip install 'agentd-supervisor[apprise]'"
            raise DeliveryFailed(told, retry_after_s=SLOW_RETRY_S)
        ended = self.resources.run(
            Program(
                (sys.executable, "-m", PROGRAM),
                json.dumps(encodable(request(message, self._urls()))).encode(),
                TIMEOUT_MS,
                # The program must find this very agentd, wherever it was started from.
                {"PYTHONPATH": _places()},
            )
        )
        if not ended.ok:
            raise DeliveryFailed(f"apprise {ended.told}")

    def _urls(self) -> list[str]:
        if self.config.url_file:
            return filled_lines(self.resources, self.config.url_file)
        return [self.config.url]


def request(message: Message, urls: list[str]) -> dict[str, object]:
    """Return what the program reads on its stdin."""
    is_good = message.kind == "resolve"
    return {
        "urls": urls,
        "title": text.headline(message),
        "body": text.below_headline(message),
        "type": "success" if is_good else _TYPES[message.severity],
    }


def _places() -> str:
    return os.pathsep.join([str(Path(agentd.__file__).parent.parent), *filter(None, sys.path)])
