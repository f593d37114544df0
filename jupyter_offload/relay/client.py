"""The keeper's side of admission: take, renew and end the lease of a cluster at a relay, and revoke certificates in it.

The contract is ``docs/reference/relay-protocol.md``, section Admission.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from .names import fingerprint
from .proof import Sign, message
from .proof import sign_with as sign_with  # for those who sign with a key in a file

#: Of one request. A relay that asks an identity provider answers later than the provider's own timeout of 5 s.
TIMEOUT_S = 15.0
#: Another process behind the same name does not know the challenge; a few more tries find one that does.
_ATTEMPTS = 4
_TRANSIENT = frozenset({408, 421, 425, 429})
_TOKEN = re.compile(r"[!-~]+\Z")
_CHALLENGE_EXPIRED = "challenge-expired"

#: Returns the token of now, or None; may block, and may raise ``OSError``.
Token = Callable[[], str | None]


@dataclass(frozen=True)
class Lease:
    """A cluster is admitted until ``expires_at``: seconds since the epoch, by the clock of this host.

    ``identity`` is who the relay takes us for, ``lease_s`` what it granted, ``revoked`` the names and patterns that it
    lets in no longer.
    """

    cluster: str
    identity: str
    lease_s: float
    expires_at: float
    revoked: tuple[str, ...]


@dataclass(frozen=True)
class ClusterStatus:
    """A lease, the names of the peers that are registered, and the connections and bytes forwarded for the cluster."""

    lease: Lease
    peers: tuple[str, ...]
    connections: int
    bytes: int


@dataclass(frozen=True)
class Health:
    """``status`` is ``ok`` or ``draining``."""

    status: str
    version: str


class RelayError(Exception):
    """A request to a relay failed. ``code`` is for programs, ``detail`` and ``hint`` are sentences for people."""

    def __init__(self, code: str, detail: str, hint: str = "") -> None:
        self.code = code
        self.detail = detail
        self.hint = hint
        super().__init__(f"{detail} {hint}".strip())


class RelayRefused(RelayError):
    """The relay says no; the same request again is no use until something is changed."""


class RelayUnavailable(RelayError):
    """The relay cannot be reached, or cannot decide now; the same request may work in a moment."""


class RelayClient:
    """A client of one relay. Use it as an asynchronous context manager, or call ``close``.

    Args:
        address: ``host:port`` or ``https://host:port`` of the relay, or the absolute path of its unix socket.
        domain: the relay's own name, which its certificate must have; proofs are bound to it.
        ca_file: PEM file of the authorities that may have signed the relay's certificate; None means the system's.
        token: called before each request for the token that says who we are. None where the unix socket knows who asks.
        timeout_s: of each request.

    Every method raises ``RelayRefused`` and ``RelayUnavailable``.
    """

    def __init__(
        self,
        address: str,
        domain: str,
        *,
        ca_file: Path | None = None,
        token: Token | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._address = address
        self._domain = domain
        self._ca_file = ca_file
        self._token = token
        self._timeout_s = timeout_s
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> RelayClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def health(self) -> Health:
        """Return how the relay is; needs no identity."""
        said = await self._json("GET", "/health")
        return Health(str(said.get("status", "")), str(said.get("version", "")))

    async def admit(self, ca_pem: str, sign: Sign, lease_s: float, revoked: Collection[str] = ()) -> Lease:
        """Take the lease of the cluster with this CA, or renew it. Idempotent.

        Args:
            ca_pem: the CA's certificate.
            sign: makes a signature with the CA's key, such as ``sign_with`` returns.
            lease_s: how long it is wanted; the relay may grant less.
            revoked: names and patterns that no certificate may have; added to those that the relay knows. A relay forgets
                them with the lease, so whoever renews says them again.
        """
        cluster = _fingerprint(ca_pem)
        for attempt in range(1, _ATTEMPTS + 1):
            challenge = str((await self._json("POST", "/v1/challenges")).get("challenge"))
            proof = base64.b64encode(sign(message(self._domain, cluster, challenge))).decode()
            body = {
                "ca_pem": ca_pem, "challenge": challenge, "proof": proof, "lease_s": lease_s, "revoked": sorted(revoked)
            }  # fmt: skip
            asked_at = time.time()
            try:
                return _lease(await self._json("PUT", f"/v1/clusters/{cluster}", body), asked_at)
            except RelayRefused as error:
                if error.code != _CHALLENGE_EXPIRED or attempt == _ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def revoke(self, cluster: str, pattern: str) -> Lease:
        """Let in no certificate with this name or pattern, and cut those that are in. Idempotent."""
        asked_at = time.time()
        path = f"/v1/clusters/{cluster}/revoked/{quote(pattern, safe='')}"
        return _lease(await self._json("PUT", path), asked_at)

    async def withdraw(self, cluster: str) -> None:
        """End the lease; every connection of the cluster is cut. Idempotent."""
        await self._request("DELETE", f"/v1/clusters/{cluster}")

    async def describe(self, cluster: str) -> ClusterStatus | None:
        """Return what the relay knows of a cluster; None when it is not admitted."""
        asked_at = time.time()
        try:
            said = await self._json("GET", f"/v1/clusters/{cluster}")
        except RelayRefused as error:
            if error.code == "not-found":
                return None
            raise
        lease = _lease(said, asked_at)
        return ClusterStatus(lease, tuple(said.get("peers", ())), said.get("connections", 0), said.get("bytes", 0))

    # ------------------------------------------------------------ HTTP
    async def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = await self._request(method, path, body)
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise self._no_relay(answer)
        return said

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        http = await self._connection()
        try:
            token = await asyncio.to_thread(self._token) if self._token is not None else None
        except OSError as error:
            raise RelayUnavailable("no-token", f"The token for the relay cannot be read: {error}.") from error
        if token and not _TOKEN.match(token):  # what sends it would quote it in its error
            raise RelayRefused(
                "bad-token",
                "The token for the relay is not one word of letters, digits and signs.",
                "Look where it is.",
            )
        headers = {"Host": self._domain} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            # httpx has timeouts for each step; this one is for the whole
            async with asyncio.timeout(self._timeout_s):
                answer = await http.request(
                    method, path, json=body, headers=headers, extensions={"sni_hostname": self._domain}
                )
        except TimeoutError as error:
            said = f"The relay at {self._address} did not answer within {self._timeout_s:g} s."
            raise RelayUnavailable("unreachable", said) from error
        except (httpx.HTTPError, OSError, ValueError) as error:  # ValueError: a header that cannot be sent
            raise self._unreachable(error) from error
        if answer.is_success:
            return answer
        raise self._problem(answer)

    async def _connection(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = await asyncio.to_thread(self._connect)
        return self._http

    def _connect(self) -> httpx.AsyncClient:
        timeout = httpx.Timeout(self._timeout_s)
        if self._address.startswith("/"):
            way = httpx.AsyncHTTPTransport(uds=self._address)
            return httpx.AsyncClient(transport=way, base_url=f"http://{self._domain}", timeout=timeout, trust_env=False)
        address = self._address.removeprefix("https://").rstrip("/")
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            raise RelayUnavailable(
                "bad-ca-file", f"The authority of the relay's certificate cannot be read from {self._ca_file}: {error}.",
                "Put the PEM file of the authority there.",
            ) from error  # fmt: skip
        return httpx.AsyncClient(verify=context, base_url=f"https://{address}", timeout=timeout, trust_env=False)

    def _unreachable(self, error: Exception) -> RelayUnavailable:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return RelayUnavailable(
                    "untrusted",
                    f"The relay at {self._address} shows no certificate of {self._domain} that can be trusted:"
                    f" {cause.verify_message.rstrip('.')}.",
                    "Name the file of the authority that signed it, and the name that it was signed for.",
                )
            if isinstance(cause, ssl.SSLError) and cause.reason == "TLSV1_UNRECOGNIZED_NAME":
                return RelayUnavailable(
                    "wrong-domain", f"The relay at {self._address} is not {self._domain}.",
                    "Give the name that is its domain in its own configuration.",
                )  # fmt: skip
            cause = cause.__cause__ or cause.__context__
        why = _why(error)
        return RelayUnavailable("unreachable", f"The relay at {self._address} cannot be reached: {why.rstrip('.')}.")

    def _problem(self, answer: httpx.Response) -> RelayError:
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict) or "code" not in said:
            return self._no_relay(answer)
        transient = answer.status_code >= 500 or answer.status_code in _TRANSIENT
        kind = RelayUnavailable if transient else RelayRefused
        return kind(str(said["code"]), str(said.get("detail", "")), str(said.get("hint") or ""))

    def _no_relay(self, answer: httpx.Response) -> RelayUnavailable:
        return RelayUnavailable(
            "no-relay", f"What answers at {self._address} is no relay: HTTP {answer.status_code}.",
            "Look whether the address is right, and whether a proxy stands between.",
        )  # fmt: skip


def _why(error: BaseException) -> str:
    """Return what the system says, which lies below what the library makes of it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None and not isinstance(cause, ssl.SSLError):
            return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _fingerprint(ca_pem: str) -> str:
    try:
        return fingerprint(ssl.PEM_cert_to_DER_cert(ca_pem.strip()))
    except ValueError as error:
        raise RelayRefused("bad-request", f"ca_pem: not one certificate in PEM: {error}.") from error


def _lease(said: Mapping[str, Any], asked_at: float) -> Lease:
    """``expires_at`` by our own clock: the relay's may differ."""
    try:
        left_s, lease_s = float(said["expires_in_s"]), float(said["lease_s"])
        return Lease(str(said["cluster"]), str(said["identity"]), lease_s, asked_at + left_s, tuple(said["revoked"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RelayUnavailable("no-relay", f"The relay's answer cannot be understood: {error!r}.") from error
