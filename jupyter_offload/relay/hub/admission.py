"""The relay's HTTP: who asks, whether the cluster is theirs, and then the lease."""

from __future__ import annotations

import datetime
import json
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler

from ..names import is_fingerprint, is_peer_name
from .authority import authority_key, check_proof
from .challenges import LIFE_S, Challenges
from .events import Events
from .identities import Asker, Identities
from .identities.unix import peer_of
from .leases import Lease, Leases, check_owner, owned
from .limits import source_of
from .problems import Problem, ProviderDown, bad_request, unauthenticated
from .registry import Registry
from .throttle import Throttle

logger = logging.getLogger("offload.relay")
#: A CA's certificate and the longest list of what is revoked.
LONGEST_BODY = 131_072
_BEARER = ("bearer", "token")  # the second is how a Hub has it


@dataclass
class Desk:
    """What the handlers share. ``draining`` tells whether this relay ends; ``identities`` may be replaced."""

    domain: str
    version: str
    leases: Leases
    registry: Registry
    identities: Identities
    throttle: Throttle
    challenges: Challenges
    events: Events
    draining: Callable[[], bool]
    answers: Callable[[str, int], None]


class _Request(BaseModel):
    """The body of an admission."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ca_pem: str
    challenge: Annotated[str, Field(max_length=256)]
    proof: Annotated[str, Field(max_length=4096)]
    lease_s: Annotated[float, Field(ge=0, le=31_536_000, strict=False)]
    revoked: list[str] = []


def application(desk: Desk) -> Application:
    """Return the application, for TLS and for the unix socket."""
    shared = {"desk": desk}
    cluster = r"/v1/clusters/([^/]{1,128})"
    return Application(
        [
            (r"/health", _Health, shared),
            (r"/v1/challenges", _Challenges, shared),
            (cluster, _Cluster, shared),
            (cluster + r"/revoked/([^/]{1,128})", _Revoked, shared),
            (r".*", _Nothing, shared),
        ],
        log_function=_log,
    )


class _Handler(RequestHandler):
    """Answers JSON, and every failure as a problem document."""

    desk: Desk

    def initialize(self, desk: Desk) -> None:
        self.desk = desk
        self.identity = self.source = ""

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "application/json")

    def asker(self) -> Asker:
        """Return who asks, by what the connection and the headers say."""
        stream = getattr(self.request.connection, "stream", None)
        if stream is None or stream.socket is None:
            raise StreamClosedError
        peer = peer_of(stream.socket) if stream.socket.family == socket.AF_UNIX else None
        self.source = source = source_of(self.request.remote_ip or "") if peer is None else f"unix:{peer.uid}"
        given = self.request.headers.get_list("Authorization")
        if not given:
            return Asker(source, None, peer)
        scheme, _, token = given[0].partition(" ")
        if len(given) > 1 or scheme.lower() not in _BEARER or not token.strip():
            raise unauthenticated("The header Authorization is not understood.", "Send: Authorization: Bearer TOKEN")
        return Asker(source, token.strip(), peer)

    async def identify(self) -> str:
        """Return who asks, as somebody trusted says it."""
        self.identity = await self.desk.identities.identify(self.asker())
        return self.identity

    def say(self, body: Any, status: int = 200) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.finish(json.dumps(body))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, Problem):
            problem = error
        elif status_code == 405:
            problem = Problem(405, "method-not-allowed", f"{self.request.method} is not possible here.")
        elif isinstance(error, HTTPError):
            problem = Problem(status_code, "bad-request", f"{HTTPStatus(status_code).phrase}.")
        else:
            problem = Problem(500, "internal", "The relay made a mistake.", "Its log has more.")
        self.set_status(problem.status, problem.code)
        self.set_header("Content-Type", "application/problem+json")
        if problem.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if problem.retry_after_s is not None:
            self.set_header("Retry-After", str(problem.retry_after_s))
        self.finish(json.dumps(problem.document()))

    def log_exception(self, kind: Any, value: BaseException | None, trace: Any) -> None:
        if isinstance(value, Problem):
            self.desk.events.noise(
                "request-refused", code=value.code, status=value.status, reason=value.detail, identity=self.identity,
                source=self.source,
            )  # fmt: skip
        elif not isinstance(value, HTTPError | StreamClosedError):
            logger.error("internal", exc_info=(kind, value, trace), extra={"event": "internal"})  # type: ignore[arg-type]

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        super().send_error(error.status if isinstance(error, Problem) else status_code, **kwargs)

    def on_finish(self) -> None:
        self.desk.answers(type(self).__name__.removeprefix("_").lower(), self.get_status())

    def lease(self, lease: Lease) -> dict[str, Any]:
        """Return a lease as it is answered."""
        left_s, stored = self.desk.leases.left_s(lease), lease.stored
        expires_at = datetime.datetime.fromtimestamp(time.time() + left_s, datetime.UTC)
        return {
            "cluster": stored.cluster,
            "identity": stored.identity,
            "expires_at": expires_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "expires_in_s": round(left_s, 3),
            "lease_s": stored.lease_s,
            "revoked": list(stored.revoked),
        }


class _Health(_Handler):
    def get(self) -> None:
        status = "draining" if self.desk.draining() else "ok"
        self.say({"status": status, "version": self.desk.version})


class _Challenges(_Handler):
    def post(self) -> None:
        self.say({"challenge": self.desk.challenges.issue(), "expires_s": LIFE_S}, 201)


class _Cluster(_Handler):
    async def get(self, cluster: str) -> None:
        identity = await self.identify()
        lease = owned(self.desk.leases.get(cluster), _fingerprint(cluster), identity)
        state = self.desk.registry.describe(cluster)
        known = {
            "peers": list(state.peers) if state else [],
            "connections": state.connections if state else 0,
            "bytes": state.bytes if state else 0,
        }
        self.say(self.lease(lease) | known)

    async def put(self, cluster: str) -> None:
        desk = self.desk
        if desk.draining():
            raise Problem(503, "draining", "This relay ends.", "Its successor admits clusters; try again.", 1)
        identity, confirmed = await self._identify_for(_fingerprint(cluster))
        asked = _parse(self.request.body)
        for pattern in asked.revoked:
            _check_pattern(pattern)
        known = desk.leases.get(cluster)
        if known is not None:
            check_owner(known, identity)
        try:
            key = authority_key(cluster, asked.ca_pem)
            desk.challenges.check(asked.challenge, identity)
            check_proof(key, asked.proof, desk.domain, cluster, asked.challenge)
        except Problem as problem:
            if problem.code == "bad-proof":
                desk.throttle.failed(self.asker().source)
            raise
        desk.challenges.redeem(asked.challenge, identity)
        lease = await desk.leases.admit(
            cluster, asked.ca_pem, identity, asked.lease_s, asked.revoked, confirmed=confirmed
        )
        desk.events.log(
            "lease-granted", cluster=cluster, identity=identity, lease_s=lease.stored.lease_s,
            confirmed="yes" if confirmed else "no",
        )  # fmt: skip
        self.say(self.lease(lease))

    async def _identify_for(self, cluster: str) -> tuple[str, bool]:
        """Return who asks, and whether that is confirmed.

        While whoever vouches for a lease's owner is silent, whoever has the CA's key is taken for the owner.
        """
        try:
            return await self.identify(), True
        except ProviderDown as problem:
            known = self.desk.leases.get(cluster)
            if known is None or not known.stored.identity.startswith(problem.prefixes):
                raise
            self.identity = known.stored.identity
            return self.identity, False

    async def delete(self, cluster: str) -> None:
        await self.desk.leases.withdraw(_fingerprint(cluster), await self.identify())
        self.set_status(204)
        self.clear_header("Content-Type")
        self.finish()


class _Revoked(_Handler):
    async def put(self, cluster: str, pattern: str) -> None:
        _check_pattern(pattern)
        lease = await self.desk.leases.revoke(_fingerprint(cluster), await self.identify(), pattern)
        self.say(self.lease(lease))


class _Nothing(_Handler):
    def prepare(self) -> None:
        raise Problem(404, "not-found", "There is nothing here.", "See the documentation of the relay's admission.")


def _fingerprint(cluster: str) -> str:
    if not is_fingerprint(cluster):
        raise bad_request("cluster: not the fingerprint of a CA.", "It is the base32 of its SHA-256 in lower case.")
    return cluster


def _check_pattern(pattern: str) -> None:
    name = pattern.removesuffix("-*")
    if not is_peer_name(name):
        raise bad_request(f"revoked: {pattern[:80]!r} is no name of a certificate.", "Write for example w-job7-*")


def _parse(body: bytes) -> _Request:
    try:
        return _Request.model_validate_json(body)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors(include_input=False)]
        raise bad_request("; ".join(wrong[:8]) + ".") from None


def _log(handler: RequestHandler) -> None:
    """Failures are events of their own, and what succeeds often is not worth a line."""
