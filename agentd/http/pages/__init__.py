"""The pages of the dashboard: pure functions from documents to HTML."""

from agentd.http.pages.agent import Shown, agent
from agentd.http.pages.context import Context, HostView
from agentd.http.pages.fleet import fleet
from agentd.http.pages.incident import incident
from agentd.http.pages.live import View, changes, live
from agentd.http.pages.plain import error, gone, sign_in, signed_in
from agentd.http.pages.report import report
from agentd.http.pages.spark import SPARKS, spark

__all__ = [
    "SPARKS",
    "Context",
    "HostView",
    "Shown",
    "View",
    "agent",
    "changes",
    "error",
    "fleet",
    "gone",
    "incident",
    "live",
    "report",
    "sign_in",
    "signed_in",
    "spark",
]
