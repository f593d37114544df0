"""HTTP on the keeper's private unix socket. Domain errors become problem+json here and nowhere else."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import socket
import struct
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_unix_socket
from tornado.web import Application, HTTPError, RequestHandler

from ..api import models
from ..api.models import FieldProblem, Model
from ..api.problems import BadInput, Broken, NotFound, OffloadError, ProblemCode, TooLarge
from ..api.routes import Query, Route

log = logging.getLogger(__name__)
BODY_LIMIT = 2**20
#: Operations that say nothing about whether anybody still needs the keeper.
_WATCHING = frozenset({"changes", "health"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


_PATTERNS = {
    models.NAME_PATTERN: "Use letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 40.",
    models.ID_PATTERN: "Use 6 to 40 small letters, digits and '-', beginning with a letter or digit.",
    models.SLUG_PATTERN: "Use small letters, digits and '-', beginning with a letter or digit, at most 40.",
}


@dataclass(frozen=True)
class Call:
    """One request, parsed: path and query arguments by name, the body as its model, the revision of If-Match."""

    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Model | None
    if_match: int | None


@dataclass(frozen=True)
class Answer:
    """One answer; ``body`` is a model, plain data, or None."""

    body: Model | Mapping[str, Any] | None = None
    status: int | None = None  # None = the route's
    headers: Mapping[str, str] = field(default_factory=dict)


Operation = Callable[[Call], Awaitable[Answer]]


@dataclass
class Traffic:
    """Whether anybody talks to the keeper: it ends itself when nobody does."""

    under_way: int = 0
    last_at: float = field(default_factory=time.monotonic)


def mistakes(error: ValidationError) -> list[FieldProblem]:
    """Return every mistake that pydantic found, by field."""
    found = []
    for one in error.errors(include_url=False):
        where = ".".join(str(part) for part in one["loc"]) or "body"
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            message = f"There is no field {where!r}."
        elif one["type"] == "missing":
            message = f"The field {where!r} is missing."
        elif one["type"] != "value_error" and not isinstance(one["input"], dict):
            message = f"{one['input']!r}: {message}"
        hint = _PATTERNS.get((one.get("ctx") or {}).get("pattern", ""))
        if hint is not None:
            message = f"{one['input']!r} is not allowed here."
        found.append(FieldProblem(field=where, message=message, hint=hint))
    return found


class ApiHandler(RequestHandler):
    """All operations of one path."""

    def initialize(self, operations: Mapping[str, tuple[Route, Operation]], traffic: Traffic) -> None:
        """Take the operations of this path, by method."""
        self._operations = operations
        self._traffic = traffic
        given = self.request.headers.get("X-Request-ID", "")
        self._request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex[:12]

    def prepare(self) -> None:
        """Count the request, unless it is one of those that only watch: they would keep an idle keeper for ever."""
        self._counted = all(route.operation not in _WATCHING for route, _ in self._operations.values())
        self._traffic.under_way += self._counted

    def on_finish(self) -> None:
        """Count the request off."""
        if getattr(self, "_counted", False):
            self._traffic.under_way -= 1
            self._traffic.last_at = time.monotonic()

    async def _handle(self, **path: str) -> None:
        if self.request.method not in self._operations:
            allowed = ", ".join(sorted(self._operations))
            self.set_header("Allow", allowed)
            self._problem(NotFound(ProblemCode.unknown_route, f"{self.request.method} is not for this path.",
                                   hint=f"It takes {allowed}."), status=405)  # fmt: skip
            return
        route, operation = self._operations[self.request.method]
        try:
            call = Call(path, self._query(route), self._body(route), self._if_match(route))
            answer = await operation(call)
        except OffloadError as error:
            self._problem(error)
        except Exception as error:
            log.exception("%s failed, request %s", route.operation, self._request_id)
            self._problem(Broken(ProblemCode.internal, f"The keeper failed: {type(error).__name__}.",
                                 hint=f"Its log has the details under {self._request_id}."))  # fmt: skip
        else:
            self._answer(route, answer)

    get = post = patch = delete = put = head = options = _handle

    def _query(self, route: Route) -> dict[str, Any]:
        known = {q.name: q for q in route.query}
        values: dict[str, Any] = {}
        for name in self.request.query_arguments:
            if name not in known:
                hint = f"There are: {', '.join(known)}." if known else "This path takes none."
                raise BadInput(ProblemCode.invalid, f"There is no query parameter {name!r}.", field=name, hint=hint)
            values[name] = _parameter(known[name], self.get_query_argument(name))
        return values

    def _body(self, route: Route) -> Model | None:
        if route.request is None:
            return None
        if len(self.request.body) > BODY_LIMIT:
            raise TooLarge(ProblemCode.too_large, f"The body has {len(self.request.body)} bytes; {BODY_LIMIT} is the most.",
                           field="body")  # fmt: skip
        try:
            data = json.loads(self.request.body or b"null")
        except ValueError as error:
            raise BadInput(ProblemCode.bad_json, f"The body is no JSON: {error}", field="body") from error
        try:
            model: Model = getattr(models, route.request).model_validate(data)
        except ValidationError as error:
            found = mistakes(error)
            more = f" ({len(found)} mistakes)" if len(found) > 1 else ""
            raise BadInput(
                ProblemCode.invalid, found[0].message + more, field=found[0].field, hint=found[0].hint, errors=found
            ) from error
        return model

    def _if_match(self, route: Route) -> int | None:
        value = self.request.headers.get("If-Match")
        if value is None or not route.if_match or value.strip() == "*":
            return None
        try:
            return int(value.strip().removeprefix("W/").strip('"'))
        except ValueError as error:
            raise BadInput(
                ProblemCode.invalid, f"If-Match {value!r} is no revision.", field="If-Match",
                hint='Send the ETag of the record, such as "17".',
            ) from error  # fmt: skip

    def _answer(self, route: Route, answer: Answer) -> None:
        self.set_status(answer.status or route.status)
        self.set_header("Cache-Control", "no-store")
        for name, value in answer.headers.items():
            self.set_header(name, value)
        if answer.body is None:
            self.clear_header("Content-Type")
            self.finish()
            return
        self.set_header("Content-Type", "application/json")
        body = answer.body
        self.finish(body.model_dump_json() if isinstance(body, Model) else json.dumps(body))

    def _problem(self, error: OffloadError, status: int | None = None) -> None:
        document = error.document(self._request_id)
        if status is not None:
            document = document.model_copy(update={"status": status})
        self.set_status(document.status)
        self.set_header("Content-Type", "application/problem+json")
        self.set_header("Cache-Control", "no-store")
        self.finish(document.model_dump_json())

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Give what tornado itself refuses the same form."""
        cause = kwargs.get("exc_info", (None, None))[1]
        reason = (
            cause.log_message if isinstance(cause, HTTPError) and cause.log_message else "The request is malformed."
        )
        self._problem(BadInput(ProblemCode.invalid, reason), status=status_code)


class UnknownRoute(ApiHandler):
    """Everything that is no route."""

    async def _nothing(self, *_: str) -> None:
        self._problem(NotFound(ProblemCode.unknown_route, f"There is nothing at {self.request.path!r}.",
                               hint="See /schema for what there is."))  # fmt: skip

    get = post = patch = delete = put = head = options = _nothing  # type: ignore[assignment]


def _parameter(query: Query, text: str) -> Any:
    try:
        if query.kind == "integer":
            return int(text)
        if query.kind == "number":
            number = float(text)
            if not math.isfinite(number):
                raise ValueError(text)  # noqa: TRY301
            return number
        if query.kind == "boolean":
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except (ValueError, KeyError) as error:
        raise BadInput(
            ProblemCode.invalid, f"{query.name} {text!r} is no {query.kind}.", field=query.name, hint=query.description
        ) from error
    return text


def application(operations: Mapping[str, Operation], routes: tuple[Route, ...], traffic: Traffic) -> Application:
    """Return the tornado application that serves ``operations`` at the paths of the route table."""
    paths: dict[str, dict[str, tuple[Route, Operation]]] = {}
    for route in routes:
        if route.operation in operations:
            paths.setdefault(route.path, {})[route.method] = (route, operations[route.operation])
    handlers: list[Any] = [
        (path.replace("{", "(?P<").replace("}", ">[^/]+)"), ApiHandler, {"operations": by_method, "traffic": traffic})
        # fixed paths first: /clusters/preview is no cluster
        for path, by_method in sorted(paths.items(), key=lambda p: p[0].count("{"))
    ]
    nothing = {"operations": {}, "traffic": traffic}
    return Application(
        handlers, default_handler_class=UnknownRoute, default_handler_args=nothing, log_function=_log_request
    )


def _log_request(handler: RequestHandler) -> None:
    level = logging.WARNING if handler.get_status() >= 500 else logging.DEBUG
    milliseconds = 1000 * handler.request.request_time()
    log.log(level, "%s %s %s %.1f ms", handler.request.method, handler.request.path, handler.get_status(), milliseconds)


class PrivateServer(HTTPServer):
    """Serves this user only: the socket is 0600 in a 0700 folder, and the peer's user is looked at as well."""

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Refuse the connection of another user."""
        uid = peer_uid(stream.socket)
        if uid is not None and uid not in (os.getuid(), 0):
            log.warning("refused a connection of user %s", uid)
            stream.close()
            return
        super().handle_stream(stream, address)


def peer_uid(connection: socket.socket) -> int | None:
    """Return the user at the other end of a unix socket; None where the system cannot tell."""
    try:
        if sys.platform == "linux":
            size = struct.calcsize("3i")
            return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[1])
        if sys.platform == "darwin":
            sol_local, local_peercred = 0, 1
            return int(struct.unpack("2I", connection.getsockopt(sol_local, local_peercred, 76)[:8])[1])
    except OSError:
        return None
    return None


def serve(app: Application, path: Path) -> PrivateServer:
    """Listen on a unix socket; one left by a dead keeper is replaced."""
    server = PrivateServer(app, max_buffer_size=32 * BODY_LIMIT, max_body_size=16 * BODY_LIMIT)
    server.add_socket(bind_unix_socket(str(path), mode=0o600, backlog=512))
    return server
