"""`agentctl dashboard`: the server in the foreground, for the person who asks.

With that person's own role over the socket. Everybody on the machine could reach the port, so
that there is always a token; it is drawn anew and is gone with the process.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from agentd.client.aio import AsyncClient
from agentd.http.from_fleet import hosts_by
from agentd.http.running import Running
from agentd.http.settings import for_one_person

if TYPE_CHECKING:
    from agentd.fleet.settings import FleetSettings


async def serve(
    path: str,
    listen: str,
    *,
    operate: bool,
    told: Callable[[str], None],
    fleet: "FleetSettings | None" = None,
) -> None:
    """Serve until Ctrl-C; `told` hears the link that signs in once.

    With `fleet`, all of its hosts are shown, with what its credentials may do there.

    Raises `AgentdError` if nobody is on the socket at the start (afterwards it reconnects),
    and `SettingsError` if it cannot listen there.
    """

    async def connect() -> AsyncClient:
        return await AsyncClient.connect(path)

    hosts = None if fleet is None else await hosts_by(fleet)
    running = Running(for_one_person(listen, operate=operate), connect, hosts)
    await running.service.link.status()
    running.end_on_signals()
    told(running.sign_in_url())
    await running.serve()
