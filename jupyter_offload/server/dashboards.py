"""Who may see a dashboard: tickets for frames, and the page that shows one outside Lab."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.extension.handler import ExtensionHandlerJinjaMixin, ExtensionHandlerMixin
from tornado.web import HTTPError, authenticated

from ..api.problems import Broken, NotFound, NotNow, OffloadError, ProblemCode
from ..api.routes import PREFIX
from .keeper_link import KeeperLink
from .problem_handler import RESOURCE, ProblemHandler
from .tickets import LIFE_S, TicketBook


async def dashboard_socket(link: KeeperLink, cluster: str) -> Path:
    """Return the socket of a cluster's dashboard. Only the keeper's record names it, never the client.

    Raises:
        NotFound: there is no such cluster.
        NotNow: it has no dashboard now.
        Unavailable: the keeper does not answer.
    """
    target = await _ask(link, f"/clusters/{quote(cluster, safe='')}/dashboard")
    return Path(target["socket"])


async def _ask(link: KeeperLink, target: str) -> dict[str, Any]:
    answer = await link.fetch("GET", target)
    document: dict[str, Any] = json.loads(answer.body)
    if answer.code == 200:
        return document
    kind: type[OffloadError] = {404: NotFound, 409: NotNow}.get(answer.code, Broken)
    raise kind(
        document.get("code", ProblemCode.internal),
        document.get("detail", f"The keeper answered {answer.code}."),
        hint=document.get("hint"),
    )


class TicketHandler(ProblemHandler):
    """``POST /clusters/{id}/dashboard/ticket``: a path for a sandboxed frame, or the same path for five more minutes."""

    def initialize(self, name: str, link: KeeperLink, tickets: TicketBook) -> None:
        """Take what all requests share."""
        super().initialize(name)
        self._link = link
        self._tickets = tickets

    @authenticated
    async def post(self, cluster: str) -> None:
        """Issue or renew the ticket of this user for this cluster, by id or by name."""
        await self.authorize("execute")
        record = await _ask(self._link, f"/clusters/{quote(cluster, safe='')}")
        await dashboard_socket(self._link, record["id"])
        # Every request with the server's token is another anonymous user to Jupyter; they are one here.
        user = "token" if self.token_authenticated else self.current_user.username
        name = self._tickets.issue(user, record["id"])
        expires_at = datetime.now(UTC) + timedelta(seconds=LIFE_S)
        self.set_status(201)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps({"path": f"{PREFIX}/view/{name}/", "expires_at": expires_at.isoformat()}))


class DashboardPage(ExtensionHandlerJinjaMixin, ExtensionHandlerMixin, JupyterHandler):
    """``GET /clusters/{id}/dashboard/``: the dashboards of one cluster in a browser tab, in a sandboxed frame."""

    def initialize(self, name: str, link: KeeperLink) -> None:
        """Take what all requests share."""
        super().initialize(name)
        self._link = link

    @property
    def content_security_policy(self) -> str:
        """Only our own script and style, and our own frames."""
        own = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; img-src 'self'"
        return f"{super().content_security_policy}; {own}"

    @authenticated
    async def get(self, cluster: str) -> None:
        """Write the page; its script asks for the ticket."""
        if not await ensure_async(self.authorizer.is_authorized(self, self.current_user, "read", RESOURCE)):
            raise HTTPError(403)
        where = f"/clusters/{quote(cluster, safe='')}"
        try:
            record = await _ask(self._link, where)
            plots = (await _ask(self._link, where + "/dashboard"))["plots"]
        except OffloadError as error:
            raise HTTPError(error.status, str(error)) from error
        self.finish(
            self.render_template(
                "offload-dashboard.html",
                title=record["name"],
                plots=[{"title": "Overview", "path": "status"}, *plots],  # Dask's own start page leads to the others
                ticket_url=f"{self.base_url}{PREFIX}/clusters/{record['id']}/dashboard/ticket",
            )
        )
