"""Write to a store without end and print what was acknowledged, until killed or told enough.

    scribe.py DIRECTORY GROUPS

Each line is `ok LAST_ID INCARNATION` or `failed INCARNATION WHY`.
"""

import sys
import threading
import time
from pathlib import Path

from agentd.core.effects import Journal, Persist
from agentd.core.records import Durable, Record
from agentd.store.rows import Batch, Outcome, Row
from agentd.store.store import Clocks, Store
from tests.store.history import MIDNIGHT_MS, MINUTE_MS, alert, look, minute, opened, saved


def main(directory: Path, groups: int) -> None:
    clocks = Clocks(lambda: time.monotonic_ns() // 1_000_000, lambda: time.time_ns() // 1_000_000)
    answered = threading.Semaphore(0)
    store = Store.open(
        directory,
        "boot",
        host="here",
        clocks=clocks,
        post=lambda call: call(),
        on_health=lambda ok, evidence: say(f"health {ok} {evidence}"),
        on_late=lambda _, outcome: say(f"late {outcome.stamps[-1].id}"),
    )
    known = store.agents()
    first = known["a"].durable.incarnation + 1 if known else 1
    say("open")
    for number in range(first, first + groups):

        def done(outcome: Outcome, number: int = number) -> None:
            if outcome.ok:
                say(f"ok {outcome.stamps[-1].id} {number}")
            else:
                say(f"failed {number} {outcome.error}")
            answered.release()

        store.submit(Batch(rows(number)), done)
        answered.acquire()
    say(f"closed {store.close()}")


def rows(number: int) -> tuple[Row, ...]:
    """Return what one group writes: something of everything, and the same of each number."""
    first, last = (
        Journal(Record("agent.ready", "info", text, "a", number, incident=number))
        for text in ("x" * 200, f"alert {number}")
    )
    return (
        Persist("a", Durable(incarnation=number)),
        first,
        last,
        opened(number),
        look(number, at=number),
        alert(f"u-{number}", last, ("pager",), number),
        saved(minute("a", MIDNIGHT_MS + number * MINUTE_MS)),
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
