"""The place of now: found or made once for all who wait, and again after it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import httpx

from ..api.problems import OffloadError, ProblemCode, Unavailable
from .placing import Attempt, Place

log = logging.getLogger(__name__)
#: How long a request waits for a pod before it is told how far it is.
PATIENCE_S = 10.0
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)


class NotYet(Exception):
    """The pod is on its way, so the request was certainly not sent; ``problem`` says how far it is."""

    def __init__(self, problem: Unavailable) -> None:
        self.problem = problem
        super().__init__(str(problem))


class Keeping:
    """Holds the place, and sends requests to it.

    Args:
        rest: called when who only watches found the keeper gone, and nothing needs another one.
    """

    def __init__(self, rest: Callable[[], None] = lambda: None) -> None:
        self._rest = rest
        #: Whether there were clusters when the keeper was seen last: then another keeper is needed, to clean up at least.
        self.unfinished = False
        self.present: Place | None = None
        self._attempt: Attempt | None = None
        self._task: asyncio.Task[Place] | None = None
        self._failure: OffloadError | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """See to it that there is a place, or soon will be, or that it is known why not."""
        if self.present is None and self._task is None:
            self._attempt = Attempt()
            self._task = asyncio.create_task(self._attempt.place())
            self._task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[Place]) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self.present, self._failure = task.result(), None
            self.unfinished = self.present.health.clusters_active > 0
            log.info("the keeper is in pod %s at %s", self.present.name, self.present.wire.address[0])
            return
        if not isinstance(error, OffloadError):
            log.error("placing failed", exc_info=error)
            error = Unavailable(ProblemCode.internal, f"The doorway failed: {type(error).__name__}: {error}.")
        log.warning("%s", error)
        self._failure = error

    def now(self) -> Place:
        """Return the place without waiting.

        Raises:
            NotYet: it is on its way.
            OffloadError: why there is none.
        """
        if self.present is not None:
            return self.present
        if self._task is not None and self._attempt is not None:
            message = f"The keeper's pod is on its way: {self._attempt.stage}."
            hint = self._attempt.hint or "Try again in a few seconds."
            raise NotYet(Unavailable(ProblemCode.keeper_unreachable, message, hint=hint))
        if self._failure is not None:
            raise self._failure
        raise Unavailable(ProblemCode.keeper_unreachable, "The keeper's pod has ended; the next request makes another.")

    async def place(self) -> Place:
        """Return the place, waiting for it a while. Raises as ``now``."""
        self.begin()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=PATIENCE_S)
        return self.now()

    def lose(self, place: Place) -> None:
        """Forget a place that does not answer, or whose certificate is old."""
        if self.present is place:
            self.present = None
            task = asyncio.create_task(place.wire.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def send(
        self, method: str, target: str, headers: dict[str, str], body: bytes, *, watching: bool = False
    ) -> httpx.Response:
        """Send a request to the keeper; it is sent again only if it certainly was not received, or changes nothing.

        Args:
            method: of HTTP.
            target: path and query.
            headers: to send.
            body: to send.
            watching: it is not worth a new pod, unless clusters are left alone.

        Raises:
            NotYet: the pod is on its way.
            OffloadError: there is no keeper, or it does not answer.
        """
        for last in (False, True):
            place = self.now() if watching else await self.place()
            try:
                return await place.wire.send(method, target, headers, body)
            except httpx.TransportError as error:
                not_sent = isinstance(error, _NOT_SENT)
                if not_sent:
                    self.lose(place)
                    if watching:
                        self.begin() if self.unfinished else self._rest()
                if last or watching or not (not_sent or method == "GET"):
                    raise _unanswered(error) from error
        raise AssertionError

    async def close(self) -> None:
        """Let go of everything; the pod stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.present is not None:
            with contextlib.suppress(OSError):
                await self.present.wire.close()


def _unanswered(error: httpx.TransportError) -> Unavailable:
    if isinstance(error, httpx.TimeoutException):
        return Unavailable(
            ProblemCode.timeout, "The keeper in its pod did not answer in time.",
            hint="Try again; if it stays so, run: jupyter offload doctor",
        )  # fmt: skip
    return Unavailable(
        ProblemCode.keeper_unreachable, f"The keeper in its pod does not answer ({type(error).__name__}).",
        hint="Try again; if it stays so, run: jupyter offload doctor",
    )  # fmt: skip
