"""The server's application: every address, who may ask there, and how a refusal is told."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.routing import Route as Address
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from agentd.client.errors import AgentdError
from agentd.http import openapi, pages, views
from agentd.http.access import Visitor
from agentd.http.encoding import Json
from agentd.http.guard import Guard
from agentd.http.link import LOST_CODES
from agentd.http.pages.context import Context
from agentd.http.refusals import Refused, refused_by_daemon
from agentd.http.routes import ROUTES, Handler, Route
from agentd.http.service import Call, Service

STATIC: Final = Path(__file__).parent / "static"
NOBODY: Final = Visitor("viewer", "nobody")
# Answered as JSON, whoever asks; everything else is looked at by people.
FOR_PROGRAMS: Final = ("/api/", "/healthz", "/metrics")
_CODES: Final = {404: "not_found", 405: "method_not_allowed", 400: "bad_request"}

PAGES: Final[tuple[tuple[str, Handler], ...]] = (
    ("/", views.fleet),
    ("/agents/{name}", views.agent),
    ("/agents/{name}/spark/{kind}.svg", views.spark),
    ("/incidents/{id}", views.incident),
    ("/report", views.report),
    ("/report/{date}", views.report),
)


def application(service: Service) -> ASGIApp:
    """Return the whole application of one server."""
    addresses = [
        *(
            Address(each.path, _endpoint(service, each.handler, each), methods=[each.method])
            for each in ROUTES
        ),
        Address("/api/v1/openapi.json", _openapi, methods=["GET"]),
        *(Address(path, _endpoint(service, handler), methods=["GET"]) for path, handler in PAGES),
        Address("/sign-in", _open_to_all(service, views.sign_in_page), methods=["GET"]),
        Address("/sign-in", _open_to_all(service, views.sign_in), methods=["POST"]),
        Mount("/static", _Static(directory=STATIC)),
    ]
    app = Starlette(
        routes=addresses,
        exception_handlers={
            Refused: _on_refused,
            AgentdError: _on_agentd_error,
            HTTPException: _on_http_exception,
            Exception: _on_fault,
        },
    )
    app.router.redirect_slashes = False  # the address is the one that was asked for, or none
    return Guard(app, service.settings.host_names)


Endpoint = Callable[[Request], Awaitable[Response]]


def _endpoint(service: Service, handler: Handler, route: Route | None = None) -> Endpoint:
    """Return a handler that is called for whoever may ask there."""
    is_open = route is not None and (
        route.access == "public" or (route.access == "metrics" and service.settings.metrics_public)
    )
    if is_open:
        return _open_to_all(service, handler)

    async def answered(request: Request) -> Response:
        return await handler(Call(service, request, service.access.visitor(request)))

    return answered


def _open_to_all(service: Service, handler: Handler) -> Endpoint:
    async def answered(request: Request) -> Response:
        return await handler(Call(service, request, NOBODY))

    return answered


async def _openapi(_request: Request) -> Response:
    return Json(openapi.document())


class _Static(StaticFiles):
    """Our own files; a browser asks each time whether they have changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


# Refusals.


async def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _refusal(request, error)


async def _on_agentd_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AgentdError)
    return _refusal(request, refused_by_daemon(error))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "bad_request")
    told = "there is nothing here" if code == "not_found" else error.detail.lower()
    return _refusal(request, Refused(code, told, headers=error.headers or {}))


async def _on_fault(request: Request, _error: Exception) -> Response:
    # Told in the log, with its traceback, by whoever called us.
    return _refusal(request, Refused("internal", "a fault of ours", "see the log of agentd-http"))


def _refusal(request: Request, refused: Refused) -> Response:
    """Tell a refusal: to programs as a document, to people as a page."""
    if request.url.path.startswith(FOR_PROGRAMS):
        return Json(refused.document(), refused.status, refused.headers)
    return HTMLResponse(_refusal_page(refused), refused.status, refused.headers)


def _refusal_page(refused: Refused) -> str:
    if refused.code == "unauthorized":
        return pages.sign_in(Context())
    if refused.code in LOST_CODES:
        return pages.gone(Context(), refused.message)
    title = f"{refused.code.replace('_', ' ')}"
    return pages.error(Context(), refused.status, title, refused.message, refused.hint)
