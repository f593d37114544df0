"""Every operation of the route table, passed on to the keeper."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tornado.web import HTTPError, authenticated

from ..api.routes import PREFIX, ROUTES, Route
from .keeper_link import KeeperLink
from .problem_handler import ProblemHandler

_TO_KEEPER = ("Content-Type", "If-Match", "If-None-Match")
_FROM_KEEPER = ("ETag", "Retry-After", "Cache-Control")


def _pattern(route: Route) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", route.path) + r"\Z")


_FORWARDED = [(route, _pattern(route)) for route in ROUTES if route.door == "both"]


def find_route(method: str, path: str) -> Route:
    """Return the operation for a method and a path as it was sent, still percent-encoded.

    Raises:
        HTTPError: 404 for no such path, 405 for a path that does not know the method.
    """
    there = [route for route, pattern in _FORWARDED if pattern.match(path)]
    for route in there:
        if route.method == method:
            return route
    raise HTTPError(405 if there else 404)


class ForwardHandler(ProblemHandler):
    """Authenticates, asks the authorizer for the route's action, and hands request and answer through unchanged."""

    def initialize(self, name: str, link: KeeperLink, touch: Any, maximum_bytes: int) -> None:
        """Take what all requests share; ``touch`` is called before each request to the keeper."""
        super().initialize(name)
        self._link = link
        self._touch = touch
        self._maximum_bytes = maximum_bytes

    async def _forward(self, *_: str) -> None:
        # The path as it was sent: a name with %2F in it must reach the keeper as one segment.
        path = self.request.path[len(self.base_url) + len(PREFIX) :]
        route = find_route(self.request.method or "", path)
        await self.authorize(route.action)
        if len(self.request.body) > self._maximum_bytes:
            raise HTTPError(
                413, f"The body has {len(self.request.body)} bytes; at most {self._maximum_bytes} are taken."
            )
        self._track_activity = route.action != "read"  # a panel that polls does not keep a server from being culled
        self._touch()
        headers = {name: self.request.headers[name] for name in _TO_KEEPER if name in self.request.headers}
        answer = await self._link.fetch(
            route.method,
            path + self._query(route),
            headers={**headers, "X-Request-ID": self.request_id},
            body=self.request.body or None,
        )
        self.set_status(answer.code)
        for name in _FROM_KEEPER:
            if name in answer.headers:
                self.set_header(name, answer.headers[name])
        if "Location" in answer.headers:
            self.set_header("Location", self.base_url + PREFIX + answer.headers["Location"])
        if answer.body:
            self.finish(answer.body, set_content_type=answer.headers.get("Content-Type", "application/json"))
        else:
            self.finish()

    def _query(self, route: Route) -> str:
        # Only what the keeper knows: Jupyter's own parameters may hold its token, and Lab adds the time against caches.
        known = {query.name for query in route.query}
        kept = [(name, value) for name, value in parse_qsl(self.request.query) if name in known]
        return f"?{urlencode(kept)}" if kept else ""

    get = post = patch = delete = put = authenticated(_forward)
