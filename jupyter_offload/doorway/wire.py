"""The way through the door of a keeper in a pod: HTTP as at its socket, and the door's own operations."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import tempfile
import time
from typing import Any

import httpx
from cryptography import x509
from pydantic import ValidationError

from ..api.models import KeeperHealth, ProblemDocument
from ..api.problems import Broken, OffloadError, ProblemCode, Unavailable, from_document
from ..keeper.door import HTTP, LINE_LIMIT, NAME, PROTOCOL, Streams
from .identity import Authority

CONNECT_TIMEOUT_S = 5.0
#: Longer than the longest poll, and than what the keeper gives its own checks.
ANSWER_TIMEOUT_S = 80.0
OPERATION_TIMEOUT_S = 15.0
#: Shorter than a keeper keeps an idle connection, so that none is used that it has just closed.
KEEP_S = 30.0


class Distrust(Exception):
    """Something at that address is no door of ours, or does not take us for its user."""


def _context(authority: Authority, guest_pem: bytes, spoken: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_verify_locations(cadata=authority.pem.decode())
    with tempfile.NamedTemporaryFile(
        "wb", prefix="offload-", suffix=".pem"
    ) as file:  # OpenSSL takes it from a file only
        file.write(guest_pem)
        file.flush()
        made.load_cert_chain(file.name)
    made.set_alpn_protocols([spoken])
    return made


class Wire:
    """One keeper's door. Construct in a thread: it makes keys.

    Args:
        address: of the pod, and the door's port.
        authority: whose certificates the door shows, and takes.
    """

    def __init__(self, address: tuple[str, int], authority: Authority) -> None:
        self.address = address
        self._made_at = time.monotonic()
        guest = authority.guest()
        self._operations = _context(authority, guest, PROTOCOL)
        self.http = httpx.AsyncClient(
            base_url=f"https://{_host(address[0])}:{address[1]}",
            verify=_context(authority, guest, HTTP),
            timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, pool=None),
            limits=httpx.Limits(max_connections=128, max_keepalive_connections=16, keepalive_expiry=KEEP_S),
            trust_env=False,
        )

    @property
    def age(self) -> datetime.timedelta:
        """How old our certificate is."""
        return datetime.timedelta(seconds=time.monotonic() - self._made_at)

    async def send(self, method: str, target: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        """Send a request to the keeper and return its answer, whatever its status.

        Raises:
            httpx.TransportError: there is no answer; ``ConnectError`` and ``ConnectTimeout`` mean that it was not sent.
        """
        return await self.http.request(
            method, target, headers=headers, content=body or None, extensions={"sni_hostname": NAME}
        )

    async def health(self) -> KeeperHealth:
        """Return who answers behind the door.

        Raises:
            Distrust: it is not our door, or we are not its user.
            httpx.TransportError: nobody answers (yet).
        """
        try:
            answer = await self.send("GET", "/health", {}, b"")
        except httpx.TransportError as error:
            cause = _tls_error(error)
            if cause is not None:
                raise Distrust(cause.reason or str(cause)) from error
            raise
        try:
            return KeeperHealth.model_validate_json(answer.content)
        except ValidationError as error:
            raise httpx.RemoteProtocolError(f"{answer.status_code} without a word of its health") from error

    async def operate(self, **request: Any) -> tuple[dict[str, Any], Streams]:
        """Send one of the door's own requests; return the answer and the connection, which the caller closes.

        Raises:
            OffloadError: as the keeper raised it, or ``Unavailable``: the door does not answer.
        """
        try:
            async with asyncio.timeout(OPERATION_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(
                    *self.address, ssl=self._operations, server_hostname=NAME, limit=LINE_LIMIT
                )
                writer.write(json.dumps(request).encode() + b"\n")
                await writer.drain()
                answer = json.loads(await reader.readline())
        except (OSError, TimeoutError, ValueError) as error:
            raise Unavailable(
                ProblemCode.keeper_unreachable, f"The door of the keeper's pod does not answer ({type(error).__name__}).",
                hint="Try again; if it stays so, run: jupyter offload doctor",
            ) from error  # fmt: skip
        if not answer.get("ok"):
            writer.close()
            raise _problem(answer)
        return answer, (reader, writer)

    async def certificate_ends_at(self) -> datetime.datetime:
        """Return when the door's certificate ends.

        Raises:
            OSError: nobody answers.
        """
        async with asyncio.timeout(OPERATION_TIMEOUT_S):
            _, writer = await asyncio.open_connection(*self.address, ssl=self._operations, server_hostname=NAME)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(shown).not_valid_after_utc

    async def close(self) -> None:
        """Close all connections of HTTP."""
        await self.http.aclose()


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _problem(answer: dict[str, Any]) -> OffloadError:
    try:
        return from_document(ProblemDocument.model_validate(answer.get("problem")))
    except ValidationError:
        return Broken(ProblemCode.internal, "The door of the keeper's pod failed.")
