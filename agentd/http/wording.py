"""The stream in the words of our own pages: what stands in which place, ready to be shown."""

from agentd.http import pages
from agentd.http.encoding import encoded
from agentd.http.hub import Moment
from agentd.http.pages.context import Context, HostView
from agentd.http.pages.live import View
from agentd.http.service import Call


class PageWording:
    """What one open page is told; the pages decide what it says, here is only when."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._before: View | None = None

    def told(self, moment: Moment) -> bytes | None:
        once, context = self._call.service.hub.once, page_context(self._call)
        after = once(
            ("view", context.role, context.host),
            lambda: pages.live(
                context, self._call.service.as_in_fleet(moment.status), moment.incidents
            ),
        )
        before, self._before = self._before, after
        if before is after:
            return None
        # With the views themselves, so that the key stays theirs.
        _, _, told = once(
            ("changes", id(before), id(after)),
            lambda: (before, after, encoded(pages.changes(before, after))),
        )
        return told

    def forget(self) -> None:
        self._before = None


def page_context(call: Call) -> Context:
    """Return who looks at a page."""
    hosts = [
        HostView(
            name=host["host"],
            state=host["state"],
            seen=host.get("seen"),
            status=host.get("status"),
            error=host.get("error"),
        )
        for host in call.service.hosts.all()
    ]
    return Context(
        role=call.visitor.role, csrf=call.visitor.csrf, host=call.host, hosts=tuple(hosts)
    )
