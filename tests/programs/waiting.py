"""Waits that the tests of real programs have in common; each has the harness's bound."""

from tests.daemon.harness import Daemon, Document


def awaited(daemon: Daemon, agent: str, kind: str, count: int = 1) -> list[Document]:
    """Wait until the journal holds so many events of a kind, and return them.

    What `status` shows may be ahead of the journal by the time that a write takes.
    """
    daemon.until_true(
        lambda: len(daemon.events(agent, kind)) >= count,
        lambda: f"{kind} of {agent}: {[event['event'] for event in daemon.events(agent)]}",
    )
    return daemon.events(agent, kind)
