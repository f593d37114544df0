"""Turns the keeper's change feed into events on Jupyter's own bus: "look again", never the state itself."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..api.problems import OffloadError, ProblemCode, Unavailable
from .keeper_link import KeeperLink

SCHEMA_ID = "https://events.jupyter-offload.dev/changes/v1"
SCHEMA_PATH = Path(__file__).parent / "schemas" / "changes-v1.yaml"
_POLL_S = 50.0
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 30.0


class ChangeRelay:
    """One task that long-polls the keeper.

    It starts with the first ``touch``. While clusters are unfinished it brings a dead keeper back, since only a keeper
    enforces their limits; without any, it lets an idle keeper rest and sleeps until the next ``touch``.
    """

    def __init__(self, link: KeeperLink, emit: Callable[[dict[str, Any]], None], log: logging.Logger | Any) -> None:
        self._link = link
        self._emit = emit
        self._log = log
        self._revision = 0
        self._clusters_active: int | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def touch(self) -> None:
        """Somebody uses the keeper: follow its changes. Call from the event loop."""
        self._wake.set()
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                await self._follow()
                delay_s = _FIRST_DELAY_S
            except OffloadError as error:
                if self._clusters_active == 0 and not self._link.connected:
                    self._log.debug("jupyter_offload: the keeper rests")
                    self._wake.clear()  # whoever asked before it went to rest needs it no more
                    await self._wake.wait()
                    self._clusters_active = None  # not known again before it answered
                    continue
                self._log.warning("jupyter_offload: %s Trying again in %.1f s.", error.message, delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * max(delay_s, 0.5), _LONGEST_DELAY_S)

    async def _follow(self) -> None:
        self._clusters_active = int((await self._ask("/health", 10))["clusters_active"])
        changes = await self._ask(f"/changes?since={self._revision}&timeout_s={_POLL_S}", _POLL_S + 10)
        # Also backwards: a keeper that had to begin with a new store counts from the start again.
        if changes["revision"] != self._revision:
            self._revision = changes["revision"]
            self._emit(changes)

    async def _ask(self, target: str, timeout_s: float) -> dict[str, Any]:
        answer = await self._link.fetch("GET", target, timeout_s=timeout_s, retry=False)
        if answer.code != 200:
            raise Unavailable(ProblemCode.keeper_unreachable, f"The keeper answers {answer.code} to {target}.")
        return dict(json.loads(answer.body))

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
