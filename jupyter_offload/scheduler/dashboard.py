"""Dask's dashboard on a private unix socket instead of a TCP port.

Dask's HTTP server knows no authentication, so any other user of the host could read, and through its pages learn, what a
cluster computes. The Bokeh application is made when somebody first asks for it: it costs 10 ms and wakes twice a second.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import dask.config
from distributed.http.routing import RoutingApplication
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket

log = logging.getLogger("offload.dashboard")

#: Fetches any port of any worker's host for whoever asks, and our workers serve no HTTP.
_UNWANTED_ROUTES = ("distributed.http.proxy",)


def leave_out_unwanted_routes() -> None:
    """Take routes that must not be served out of Dask's configuration of this process."""
    key = "distributed.scheduler.http.routes"
    routes = [route for route in dask.config.get(key) if route not in _UNWANTED_ROUTES]
    dask.config.set({key: routes})


class _LazyApplication(RoutingApplication):  # type: ignore[misc]
    """Adds the Bokeh application at the first request."""

    def __init__(self, routes: list[Any], scheduler: Any) -> None:
        super().__init__(routes)
        self._scheduler: Any = scheduler

    def find_handler(self, request: Any, **kwargs: Any) -> Any:
        """Route a request as Dask does."""
        if self._scheduler is not None:
            scheduler, self._scheduler = self._scheduler, None
            from distributed.dashboard.scheduler import connect

            connect(self, scheduler.http_server, scheduler, prefix="/")
        return super().find_handler(request, **kwargs)


class PrivateDashboard:
    """Mixed into Dask's scheduler: HTTP listens nowhere until ``serve_dashboard`` is called."""

    http_application: RoutingApplication
    http_server: HTTPServer

    def start_http_server(self, routes: list[Any], *_: Any, **__: Any) -> None:
        """Make the server without a listening socket."""
        self.http_application = _LazyApplication(routes, self)
        self.http_server = HTTPServer(self.http_application)
        vars(self.http_server)["port"] = 0  # Bokeh asks for it to make its list of origins

    def serve_dashboard(self, path: Path) -> None:
        """Listen on a 0600 unix socket.

        Raises:
            OSError: the socket cannot be made.
        """
        self.http_server.add_socket(bind_unix_socket(str(path), mode=0o600))
        log.info("Dashboard at %s", path)

    async def _stop_services(self) -> None:
        await super()._stop_services()  # type: ignore[misc]
        self.http_server.stop()
