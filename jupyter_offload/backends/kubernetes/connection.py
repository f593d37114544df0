"""One connection to an API server for all sites of the same account: credentials, TLS, one pool, the server's clock."""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import logging
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx

from ...api.problems import OffloadError, ProblemCode, Unavailable
from .account import Account, load_account
from .answers import error_of
from .exec_plugin import Printed, run_plugin

log = logging.getLogger(__name__)

#: How long an account counts as read; files of credentials are renewed without a word.
REREAD_S = 5.0
#: Of any one step of a request; its caller's timeout bounds the whole.
LONGEST_S = 120.0

Key = tuple[Path | None, str | None]
Content = dict[str, Any] | list[dict[str, Any]] | None


@dataclass
class _Session:
    """An HTTP client for one account and one event loop."""

    account: Account
    printed: Printed | None
    http: httpx.AsyncClient
    loop: asyncio.AbstractEventLoop

    def headers(self) -> dict[str, str]:
        token = self.printed.token if self.printed else self.account.token
        return {"Authorization": f"Bearer {token}"} if token else {}


class Connection:
    """Shared by whoever names the same kubeconfig and context; the last one that lets go closes it."""

    _all: ClassVar[dict[Key, Connection]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, key: Key) -> None:
        self.key = key
        self.users = 0
        self.account: Account | None = None
        #: What keeps the account from being read, until it can be.
        self.problem: OffloadError | None = None
        #: Seconds that the server's clock is ahead of ours, to about a second; None until it answered.
        self.server_time_offset_s: float | None = None
        self._read_at = float("-inf")
        self._session: _Session | None = None
        self._opening: asyncio.Lock | None = None

    @classmethod
    def take(cls, key: Key) -> Connection:
        """Return the connection of this account. Blocking: it reads the account; one that cannot be read is no error yet."""
        with cls._guard:
            found = cls._all.setdefault(key, Connection(key))
            found.users += 1
        if found.account is None:
            found.read()
        return found

    async def let_go(self) -> None:
        """Close it if nobody uses it any more."""
        with self._guard:
            self.users -= 1
            if self.users > 0:
                return
            if self._all.get(self.key) is self:
                del self._all[self.key]
        session, self._session = self._session, None
        await _close(session)

    def read(self) -> None:
        """Read the account again. Blocking. What fails stands in ``problem``."""
        try:
            self.account, self.problem = load_account(*self.key), None
        except OffloadError as error:
            self.problem = error
        self._read_at = time.monotonic()

    async def send(
        self, method: str, path: str, *, params: Mapping[str, Any] | None, content: bytes | None,
        content_type: str, timeout_s: float,
    ) -> httpx.Response:  # fmt: skip
        """Send a request and return the answer, whatever its status; credentials are renewed once if they are refused.

        Raises:
            OffloadError: there are no credentials, or the server does not answer (``site-unreachable``).
        """
        try:
            async with asyncio.timeout(timeout_s):
                for attempt in (1, 2):
                    session = await self._open(renew=attempt == 2)
                    answer = await self._once(session, method, path, params, content, content_type)
                    if answer.status_code != 401:
                        break
                return answer
        except TimeoutError as error:
            raise self._away(f"did not answer within {timeout_s:g} s") from error
        except (ssl.SSLError, httpx.TransportError) as error:
            raise self._away(_why(error)) from error

    async def _once(
        self, session: _Session, method: str, path: str, params: Mapping[str, Any] | None,
        content: bytes | None, content_type: str,
    ) -> httpx.Response:  # fmt: skip
        headers = {**session.headers(), "Accept": "application/json, */*"}
        if content is not None:
            headers["Content-Type"] = content_type
        name = session.account.tls_server_name
        began = time.time()
        answer = await session.http.request(
            method,
            path,
            params=params,
            content=content,
            headers=headers,
            extensions={"sni_hostname": name} if name else {},
        )
        self._note_clock(answer.headers.get("Date"), began, time.time())
        return answer

    def _note_clock(self, date: str | None, began: float, ended: float) -> None:
        if date is not None:
            try:
                # the header has whole seconds, cut off
                seen = email.utils.parsedate_to_datetime(date).timestamp() + 0.5
            except ValueError:
                return
            self.server_time_offset_s = seen - (began + ended) / 2

    async def _open(self, *, renew: bool) -> _Session:
        if self._opening is None or (self._session and self._session.loop is not asyncio.get_running_loop()):
            self._opening = asyncio.Lock()
        async with self._opening:
            if renew or self.problem is not None or time.monotonic() - self._read_at > REREAD_S:
                await asyncio.to_thread(self.read)
            if self.problem is not None or self.account is None:
                raise self.problem or Unavailable(ProblemCode.site_unreachable, "The account was not read yet.")
            if not self._usable(self._session, renew=renew):
                before, self._session = self._session, await self._new_session(self.account)
                asyncio.get_running_loop().call_later(
                    60, _close_later, before
                )  # others may be in the middle of a request
            assert self._session is not None
            return self._session

    def _usable(self, session: _Session | None, *, renew: bool) -> bool:
        if session is None or session.account != self.account or session.loop is not asyncio.get_running_loop():
            return False
        return session.printed is None or (session.printed.fresh() and not renew)

    async def _new_session(self, account: Account) -> _Session:
        printed = await run_plugin(account) if account.plugin else None
        certificate, key = (printed.certificate_pem, printed.key_pem) if printed else (None, None)
        context = await asyncio.to_thread(account.ssl_context, certificate, key)
        http = httpx.AsyncClient(
            base_url=account.server, verify=context, timeout=LONGEST_S, follow_redirects=False, proxy=account.proxy,
            trust_env=not _is_loopback(account.server),
        )  # fmt: skip
        return _Session(account, printed, http, asyncio.get_running_loop())

    def _away(self, why: str) -> OffloadError:
        server = self.account.server if self.account else "of the site"
        hint = "Nothing is known to be lost. Check with: kubectl version"
        if "certificate" in why.lower():
            hint = "Put the CA of the API server into the kubeconfig (certificate-authority)."
        return Unavailable(ProblemCode.site_unreachable, f"The API server {server} {why}.", hint=hint)

    def error(self, answer: httpx.Response, what: str) -> OffloadError:
        """Return the error that an answer stands for."""
        try:
            body = answer.json()
        except ValueError:
            body = {"message": answer.text[:200]}
        source = self.account.source if self.account else "nobody"
        return error_of(answer.status_code, body if isinstance(body, dict) else {}, what, source)


def _why(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return f"cannot be reached: {text.rstrip('.')}"


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_closing: set[asyncio.Task[None]] = set()


def _close_later(session: _Session | None) -> None:
    if session is not None:
        task = asyncio.get_running_loop().create_task(_close(session))
        _closing.add(task)
        task.add_done_callback(_closing.discard)


async def _close(session: _Session | None) -> None:
    if session is not None and session.loop is asyncio.get_running_loop():
        await session.http.aclose()
