"""Every request at the local socket: passed on to the keeper in its pod, but for the few that concern this host."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import httpx
from tornado.web import Application, RequestHandler

from ..api.models import Findings
from ..api.problems import Broken, OffloadError, ProblemCode, TooLarge
from ..api.routes import ROUTES
from ..keeper.http import BODY_LIMIT
from . import doctor
from .keeping import NotYet

if TYPE_CHECKING:
    from .app import Doorway

_FORWARD = ("Content-Type", "If-Match", "If-None-Match", "X-Request-ID")
_BACK = ("Content-Type", "ETag", "Retry-After", "Cache-Control", "Location", "Allow")
#: Operations that say nothing about whether anybody still needs the keeper.
WATCHING = frozenset({"changes", "health"})
_PATTERNS = [
    (r.operation, r.method, re.compile(re.sub(r"\{\w+\}", "([^/]+)", r.path) + r"\Z"))
    for r in ROUTES if r.operation in {"health", "handOver", "clusterConnection", "clusterDashboard", "doctor", "changes"}
]  # fmt: skip


def operation_of(method: str, path: str) -> str:
    """Return the operation, if it is one that is not merely passed on; else nothing."""
    return next((o for o, m, pattern in _PATTERNS if m == method and pattern.match(path)), "")


class ForwardHandler(RequestHandler):
    """All paths."""

    def initialize(self, doorway: Doorway) -> None:
        """Take what serves."""
        self._doorway = doorway
        self._operation = operation_of(self.request.method or "", self.request.path)

    def prepare(self) -> None:
        """Count the request, unless it only watches."""
        self._doorway.traffic.under_way += self._operation not in WATCHING

    def on_finish(self) -> None:
        """Count the request off."""
        if self._operation not in WATCHING:
            self._doorway.traffic.under_way -= 1
            self._doorway.traffic.last_at = time.monotonic()

    async def _handle(self, *_: str) -> None:
        try:
            if len(self.request.body) > BODY_LIMIT:
                raise TooLarge(
                    ProblemCode.too_large, f"The body has {len(self.request.body)} bytes; {BODY_LIMIT} is the most.", field="body"
                )  # fmt: skip
            await self._answer()
        except NotYet as error:
            self.set_header("Retry-After", "1")
            self._problem(error.problem)
        except OffloadError as error:
            self._problem(error)
        except OSError as error:
            self._problem(Broken(ProblemCode.internal, f"The doorway to the keeper's pod failed: {error}."))

    get = post = patch = delete = put = head = options = _handle

    async def _answer(self) -> None:
        doorway = self._doorway
        if self._operation == "handOver":
            self.set_status(202)
            doorway.end_soon()
            return
        if self._operation == "health":
            self._finish((await doorway.health()).model_dump_json())
            return
        if self._operation == "doctor":
            await self._examine()
            return
        if self._operation not in WATCHING:
            await doorway.hand_over_token()
        found = await self._forwarded()
        if found.status_code != 200 or self._operation not in ("clusterConnection", "clusterDashboard"):
            self._pass_back(found)
        elif self._operation == "clusterConnection":
            self._finish((await doorway.connection(found.json())).model_dump_json())
        else:
            asked = self.request.path.split("/")[2]
            self._finish((await doorway.dashboard(found.json(), asked)).model_dump_json())

    async def _forwarded(self) -> httpx.Response:
        headers = {name: self.request.headers[name] for name in _FORWARD if name in self.request.headers}
        watching = self._operation in WATCHING
        return await self._doorway.keeping.send(
            self.request.method or "GET", self.request.uri or "/", headers, self.request.body, watching=watching
        )

    async def _examine(self) -> None:
        """Add what is to be seen from here to what the keeper finds in its pod."""
        findings = await doctor.findings(self._doorway.keeping)
        if self._doorway.keeping.present is not None:
            found = await self._forwarded()
            if found.status_code != 200:
                self._pass_back(found)
                return
            findings += Findings.model_validate_json(found.content).findings
        self._finish(Findings(findings=findings).model_dump_json())

    def _pass_back(self, found: httpx.Response) -> None:
        self.set_status(found.status_code)
        self.clear_header("Content-Type")
        for name in _BACK:
            if name in found.headers:
                self.set_header(name, found.headers[name])
        if found.content:
            self.write(found.content)

    def _finish(self, body: str) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.write(body)

    def _problem(self, error: OffloadError) -> None:
        document = error.document(self.request.headers.get("X-Request-ID", "")[:64] or None)
        self.set_status(document.status)
        self.set_header("Content-Type", "application/problem+json")
        self.set_header("Cache-Control", "no-store")
        self.write(document.model_dump_json())

    def compute_etag(self) -> str | None:
        """Keep the keeper's own ETag."""
        return None


def application(doorway: Doorway) -> Application:
    """Return the tornado application of the local socket."""
    return Application([(r".*", ForwardHandler, {"doorway": doorway})], log_function=lambda _: None)
