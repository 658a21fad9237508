"""Documents to JSON, fast, and whatever is in them."""

import json
from typing import Any

import msgspec
from starlette.responses import Response

_encode = msgspec.json.Encoder().encode


def encoded(document: object) -> bytes:
    """Return a document as JSON on one line."""
    try:
        return _encode(document)
    except UnicodeEncodeError:
        # Half a character, as an agent may send it: written as its escape, as it came.
        return json.dumps(document, separators=(",", ":")).encode()


class Json(Response):
    """A document as the answer to a request."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - any JSON document
        return encoded(content)
