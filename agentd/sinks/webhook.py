"""The sink `webhook`: a JSON document by POST, signed where there is a secret to sign it with.

`X-Agentd-Signature` is `sha256=` and, in hexadecimal, the HMAC-SHA256 of the body as it was
sent, keyed by the first line of `secret_file`. `Idempotency-Key` is the alert's id: it is the
same at each attempt.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

from agentd.config.schema import SinkConfig
from agentd.sinks.address import address
from agentd.sinks.document import document
from agentd.sinks.http import Http
from agentd.sinks.message import Message, Resources
from agentd.sinks.posting import post
from agentd.sinks.secret_files import first_line


@dataclass(slots=True)
class Webhook:
    """One receiver of documents."""

    config: SinkConfig
    resources: Resources
    http: Http = field(default_factory=Http)

    def deliver(self, message: Message) -> None:
        body = document(message)
        headers = {"Idempotency-Key": message.alert_id}
        if self.config.secret_file:
            secret = first_line(self.resources, self.config.secret_file)
            headers["X-Agentd-Signature"] = signature(secret, body)
        post(self.http, address(self.config, self.resources), body, headers)


def signature(secret: str, body: bytes) -> str:
    """Return the value of `X-Agentd-Signature` for a body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
