"""The keeper's API for Python doors: notebook API, command line, tests. Sync and async share building and parsing."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import uuid
from typing import Any, TypeVar, overload
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from .models import ClusterRequest, Model, ProblemDocument
from .problems import Broken, ProblemCode, Unavailable, from_document
from .routes import ROUTES, Route
from .start import ensure_keeper

T = TypeVar("T", bound=Model)
#: Longest wait for a pod to be made for the keeper; the doorway gives up before, unless its settings say otherwise.
PLACING_PATIENCE_S = 600.0
PLACING_STEP_S = 1.0
_ROUTES = {route.operation: route for route in ROUTES}


def _build(
    operation: str, body: Model | None, if_match: int | None, arguments: dict[str, Any]
) -> tuple[Route, dict[str, Any]]:
    route = _ROUTES[operation]
    if isinstance(body, ClusterRequest) and body.id is None:
        body = body.model_copy(update={"id": uuid.uuid4().hex})  # so that it can be sent again without making two
    named = {q.name for q in route.query}
    query = {k: v for k, v in arguments.items() if k in named and v is not None}
    path = route.path.format(**{k: quote(str(v), safe="") for k, v in arguments.items() if k not in named})
    request: dict[str, Any] = {"method": route.method, "url": f"http://keeper{path}", "params": query}
    if body is not None:
        request["content"] = body.model_dump_json(exclude_unset=True)
        request["headers"] = {"Content-Type": "application/json"}
    if if_match is not None:
        request["headers"] = {**request.get("headers", {}), "If-Match": f'"{if_match}"'}
    return route, request


def _parse(answer: httpx.Response, response: type[T] | None) -> T | None:
    if answer.status_code >= 400:
        try:
            raise from_document(ProblemDocument.model_validate_json(answer.content))
        except (ValidationError, ValueError) as error:
            raise Broken(
                ProblemCode.internal, f"The keeper answered {answer.status_code} without a problem document."
            ) from error
    if response is None or answer.status_code == 204:
        return None
    return response.model_validate_json(answer.content)


def _again(error: httpx.HTTPError, if_match: int | None) -> bool:
    """Tell whether a request may be sent once more: the keeper died, and what it may have done already bears repeating.

    A slow keeper is alive. With If-Match the first try may be what made the second one stale.
    """
    if isinstance(error, httpx.ConnectError):
        return True
    return isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError) and if_match is None


def _unreachable(error: Exception) -> Unavailable:
    return Unavailable(
        ProblemCode.keeper_unreachable, f"The keeper does not answer ({type(error).__name__}).",
        hint="Try again; if it stays so, run: jupyter offload doctor",
    )  # fmt: skip


class _Coming:
    """How long to wait for a pod that is being made for the keeper; tells people how far it is."""

    def __init__(self) -> None:
        self._until = time.monotonic() + PLACING_PATIENCE_S
        self._told = ""

    def wait_s(self, answer: httpx.Response) -> float | None:
        """Return how long to wait before asking again, None where the answer is one."""
        if answer.status_code != 503 or "Retry-After" not in answer.headers or time.monotonic() > self._until:
            return None
        with contextlib.suppress(ValueError, AttributeError):
            said = str(answer.json().get("detail"))
            if said != self._told:
                self._told = said
                print(f"offload: {said}", file=sys.stderr, flush=True)
        return PLACING_STEP_S


class KeeperClient:
    """Blocking client. ``call("getCluster", Cluster, id="zmumu")`` sends one operation of the route table.

    Raises:
        OffloadError: as the keeper raised it, with its code, field and hint.
        Unavailable: no keeper answers.
    """

    def __init__(self, timeout_s: float = 30) -> None:
        self._timeout_s = timeout_s
        self._http: httpx.Client | None = None

    @overload
    def call(
        self,
        operation: str,
        response: type[T],
        *,
        body: Model | None = ...,
        if_match: int | None = ...,
        **arguments: Any,
    ) -> T: ...
    @overload
    def call(
        self,
        operation: str,
        response: None = ...,
        *,
        body: Model | None = ...,
        if_match: int | None = ...,
        **arguments: Any,
    ) -> None: ...
    def call(
        self,
        operation: str,
        response: type[T] | None = None,
        *,
        body: Model | None = None,
        if_match: int | None = None,
        **arguments: Any,
    ) -> T | None:
        """Send one operation; path and query arguments by name. A keeper that died is started again, once."""
        _, request = _build(operation, body, if_match, arguments)
        coming = _Coming()
        for attempt in (1, 2):
            try:
                answer = self._connected().request(**request)
                while (wait_s := coming.wait_s(answer)) is not None:
                    time.sleep(wait_s)
                    answer = self._connected().request(**request)
                return _parse(answer, response)
            except httpx.HTTPError as error:
                self.close()
                if attempt == 2 or not _again(error, if_match):
                    raise _unreachable(error) from error
        raise AssertionError

    def _connected(self) -> httpx.Client:
        if self._http is None:
            transport = httpx.HTTPTransport(uds=str(ensure_keeper()))
            self._http = httpx.Client(transport=transport, timeout=self._timeout_s)
        return self._http

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._http is not None:
            self._http.close()
            self._http = None


class AsyncKeeperClient:
    """The same for asyncio; starting a keeper happens in a thread."""

    def __init__(self, timeout_s: float = 30) -> None:
        self._timeout_s = timeout_s
        self._http: httpx.AsyncClient | None = None

    @overload
    async def call(
        self,
        operation: str,
        response: type[T],
        *,
        body: Model | None = ...,
        if_match: int | None = ...,
        **arguments: Any,
    ) -> T: ...
    @overload
    async def call(
        self,
        operation: str,
        response: None = ...,
        *,
        body: Model | None = ...,
        if_match: int | None = ...,
        **arguments: Any,
    ) -> None: ...
    async def call(
        self,
        operation: str,
        response: type[T] | None = None,
        *,
        body: Model | None = None,
        if_match: int | None = None,
        **arguments: Any,
    ) -> T | None:
        """Send one operation; path and query arguments by name. A keeper that died is started again, once."""
        _, request = _build(operation, body, if_match, arguments)
        coming = _Coming()
        for attempt in (1, 2):
            try:
                answer = await (await self._connected()).request(**request)
                while (wait_s := coming.wait_s(answer)) is not None:
                    await asyncio.sleep(wait_s)
                    answer = await (await self._connected()).request(**request)
                return _parse(answer, response)
            except httpx.HTTPError as error:
                await self.close()
                if attempt == 2 or not _again(error, if_match):
                    raise _unreachable(error) from error
        raise AssertionError

    async def _connected(self) -> httpx.AsyncClient:
        if self._http is None:
            socket = await asyncio.to_thread(ensure_keeper)
            self._http = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket)), timeout=self._timeout_s)
        return self._http

    async def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None
