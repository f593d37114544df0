"""A Jupyter server extension for the benchmark only: it keeps how late a 10 ms ticker on the server's loop was."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from jupyter_server.base.handlers import APIHandler
from tornado import web

TICK_S = 0.01


class Ticker:
    """Collects, in seconds, how much later than asked each tick came."""

    def __init__(self) -> None:
        self.late_s: list[float] = []

    async def tick(self) -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(TICK_S)
            self.late_s.append(time.perf_counter() - start - TICK_S)


class LagHandler(APIHandler):
    """GET answers the ticks since the last GET."""

    @web.authenticated
    def get(self) -> None:
        ticker: Ticker = self.settings["benchmark_ticker"]
        late, ticker.late_s = ticker.late_s, []
        self.finish(json.dumps(late))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "benchmarks.lag_extension"}]


def _load_jupyter_server_extension(server: Any) -> None:
    ticker = server.web_app.settings["benchmark_ticker"] = Ticker()
    server.web_app.add_handlers(".*$", [(server.web_app.settings["base_url"] + "benchmark/lag", LagHandler)])
    server.io_loop.call_later(0, lambda: setattr(ticker, "task", asyncio.ensure_future(ticker.tick())))
