"""What a trace says of other hosts: as the link of a fleet would tell it, checked as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from agentd.core.accounts import Periods
from agentd.core.events import HostsSeen
from agentd.core.host_views import HostsView
from agentd.wire.hosts import hosts_view


@dataclass(frozen=True, slots=True)
class Seen:
    """The link tells how the other hosts are."""

    view: HostsView

    def told(self, number: int, periods: Periods) -> HostsSeen:
        """Return the core's event; what others spent is of today where no date is said."""
        view = self.view if self.view.date else replace(self.view, date=periods.date)
        return HostsSeen(f"line {number}", view)


def read_seen(fields: Mapping[str, object]) -> Seen:
    """Read a line; `ValueError` names the field that is wrong."""
    said = fields["fleet"]
    if not isinstance(said, dict):
        raise ValueError("fleet is an object")  # noqa: TRY004 - told with its line
    try:
        return Seen(hosts_view(said))
    except msgspec.ValidationError as error:
        raise ValueError(f"fleet: {error}") from None
