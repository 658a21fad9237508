"""The pages with little on them: sign in, an error, a daemon that doesn't answer."""

from typing import Final

from agentd.http.pages.context import Context
from agentd.http.pages.fleet import stream_path
from agentd.http.pages.frame import page
from agentd.http.pages.markup import tag

SIGN_IN_WITH: Final = (
    "The token is in the file that [http] token_file names. An `agentctl dashboard` has none: "
    "start it again for a new link."
)


def sign_in(context: Context, *, refused: str = "") -> str:
    """Return the form that takes the token; `refused`: what was wrong with the last try."""
    form = tag(
        "form",
        tag("h1", "Sign in"),
        tag("p", SIGN_IN_WITH, class_="quiet"),
        tag("p", refused, role="alert", class_="health", data_tone="bad") if refused else None,
        # A place for the name, which password managers ask for; there is but one.
        tag("input", name="name", value="agentd", autocomplete="username", hidden=True),
        tag("label", "Token", for_="token"),
        tag(
            "input",
            id="token",
            name="token",
            type="password",
            autocomplete="current-password",
            required=True,
            autofocus=True,
        ),
        tag("button", "Sign in", type="submit"),
        method="post",
        action="/sign-in",
    )
    main = tag("div", form, class_="card signin")
    return page(context, "Sign in · agentd", main, kind="sign-in")


def signed_in(context: Context) -> str:
    """Return what stands there for a moment on the way to the fleet."""
    main = tag("div", tag("h1", "Signed in"), tag("p", tag("a", "To the fleet", href="/")))
    return page(context, "Signed in · agentd", main, kind="sign-in")


def error(context: Context, status_code: int, title: str, message: str, hint: str = "") -> str:
    """Return what went wrong, and what to do instead."""
    main = tag(
        "div",
        tag("h1", title),
        tag("p", message),
        tag("p", hint, class_="quiet") if hint else None,
        tag("p", tag("a", "To the fleet", href="/")),
        class_="problem",
        data_status=status_code,
    )
    return page(context, f"{title} · agentd", main, kind="error")


def gone(context: Context, message: str) -> str:
    """Return the page while the daemon doesn't answer; it looks again by itself."""
    main = tag(
        "div",
        tag("h1", "agentd does not answer"),
        tag("p", message),
        tag("p", "Its agents run on without it. This page looks again by itself."),
        tag("p", tag("code", "systemctl status agentd"), " ", tag("code", "agentctl status")),
        class_="problem",
    )
    return page(
        context,
        "? agentd does not answer",
        main,
        kind="gone",
        stream=stream_path(context),
    )
