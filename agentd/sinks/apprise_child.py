"""The program behind the sink `apprise`: one message on stdin, sent to all its URLs, and gone.

Exit codes: 0 every service took it, 1 one or more didn't (their kinds are on stderr), 2 it was
not understood. The library's own words never come out: they may hold a URL.
"""

import contextlib
import io
import json
import sys
from typing import Final

REQUEST_BYTES_MAX: Final = 1 << 20
SENT: Final = 0
NOT_SENT: Final = 1
NOT_UNDERSTOOD: Final = 2


def main() -> int:
    """Read the message, send it, and say what came of it."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            failed = _send(json.loads(sys.stdin.buffer.read(REQUEST_BYTES_MAX)))
    except Exception as error:  # noqa: BLE001 - its text, or a traceback, would hold URLs
        sys.stderr.write(f"{type(error).__name__}\n")
        return NOT_UNDERSTOOD
    if failed:
        sys.stderr.write(f"not delivered by {', '.join(failed)}\n")
    return NOT_SENT if failed else SENT


def _send(request: dict[str, object]) -> list[str]:
    """Return what failed: the number of each URL, and the kind of its service."""
    import apprise  # noqa: PLC0415 - what it says while it loads is not to be seen either

    urls = request["urls"]
    assert isinstance(urls, list)
    failed = []
    for number, url in enumerate(urls, start=1):
        service = apprise.Apprise.instantiate(str(url), suppress_exceptions=True)
        if service is None:
            failed.append(f"URL {number} (not one that apprise knows)")
        elif not service.notify(
            body=str(request["body"]),
            title=str(request["title"]),
            notify_type=request["type"],
            body_format="text",  # so that it is escaped where a service wants HTML
        ):
            failed.append(f"URL {number} ({service.service_name})")
    return failed


if __name__ == "__main__":
    sys.exit(main())
