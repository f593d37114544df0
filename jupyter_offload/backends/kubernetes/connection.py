"""One connection to an API server for all sites of the same account: credentials, TLS, one pool, the server's clock."""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx

from ...api.problems import BadInput, OffloadError, ProblemCode, Unavailable
from .account import Account, load_account
from .answers import error_of
from .exec_plugin import Printed, run_plugin

#: How long an account counts as read; files of credentials are renewed without a word.
REREAD_S = 5.0
#: A program that prints credentials is not run again sooner because they are refused.
RERUN_S = 30.0
#: Longest wait for credentials: reading files, running a program.
OPEN_TIMEOUT_S = 40.0
#: Of any one step of a request; its caller's timeout bounds the whole.
LONGEST_S = 120.0

Key = tuple[Path | None, str | None]


@dataclass(eq=False)
class _Session:
    """An HTTP client for one account and one event loop."""

    account: Account
    printed: Printed | None
    http: httpx.AsyncClient
    loop: asyncio.AbstractEventLoop
    made_at: float = field(default_factory=time.monotonic)

    def headers(self) -> dict[str, str]:
        token = self.printed.token if self.printed else self.account.token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def usable(self, account: Account | None, *, renew: bool) -> bool:
        """Tell whether it still is of this account and loop, and need not be renewed; programs are not run again at once."""
        if self.account != account or self.loop is not asyncio.get_running_loop():
            return False
        if self.printed is None:
            return True
        return self.printed.fresh() and not (renew and time.monotonic() - self.made_at > RERUN_S)


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
        self._replaced: set[_Session] = set()
        self._opening: asyncio.Task[_Session] | None = None

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
        if self._opening is not None and not self._opening.get_loop().is_closed():
            self._opening.cancel()
        left = [*self._replaced, *([self._session] if self._session else [])]
        self._session = None
        self._replaced.clear()
        await asyncio.gather(*(_close(session) for session in left))

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
        for attempt in (1, 2):
            session = await self._open(renew=attempt == 2)
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await self._once(session, method, path, params, content, content_type)
            except TimeoutError as error:
                raise self._away(f"did not answer within {timeout_s:g} s") from error
            except (ssl.SSLError, httpx.TransportError) as error:
                raise self._away(_why(error)) from error
            if answer.status_code != 401:
                break
        return answer

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
        """Return a session with credentials of now. Opening one goes on when its first caller gives up waiting."""
        stale = self.problem is not None or time.monotonic() - self._read_at > REREAD_S
        if self._session is not None and not (renew or stale) and self._session.usable(self.account, renew=False):
            return self._session
        loop = asyncio.get_running_loop()
        if self._opening is None or self._opening.done() or self._opening.get_loop() is not loop:
            self._opening = loop.create_task(self._opened(renew))
            self._opening.add_done_callback(
                lambda task: task.cancelled() or task.exception()
            )  # nobody may be left to ask
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                return await asyncio.shield(self._opening)
        except TimeoutError as error:
            raise self._away(f"got no credentials within {OPEN_TIMEOUT_S:g} s") from error

    async def _opened(self, renew: bool) -> _Session:
        await asyncio.to_thread(self.read)
        if self.problem is not None or self.account is None:
            raise self.problem or Unavailable(ProblemCode.site_unreachable, "The account was not read yet.")
        before = self._session
        if before is not None and before.usable(self.account, renew=renew):
            return before
        self._session = new = await self._new_session(self.account)
        if before is not None:  # others may be in the middle of a request
            self._replaced.add(before)
            new.loop.call_later(LONGEST_S, self._retire, before)
        return new

    def _retire(self, session: _Session) -> None:
        if session in self._replaced:
            self._replaced.discard(session)
            task = session.loop.create_task(_close(session))
            _closing.add(task)
            task.add_done_callback(_closing.discard)

    async def _new_session(self, account: Account) -> _Session:
        printed = await run_plugin(account) if account.plugin else None
        certificate, key = (printed.certificate_pem, printed.key_pem) if printed else (None, None)
        context = await asyncio.to_thread(account.ssl_context, certificate, key)
        try:
            http = httpx.AsyncClient(
                base_url=account.server, verify=context, timeout=LONGEST_S, follow_redirects=False, proxy=account.proxy,
                trust_env=not _is_loopback(account.server),
            )  # fmt: skip
        except (httpx.InvalidURL, ValueError, ImportError) as error:
            message = f"The server or proxy-url of {account.source} is no address that can be used: {error}."
            raise BadInput(
                ProblemCode.access_denied, message, hint="Write for example server: https://host:6443"
            ) from error
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


#: The loop itself keeps no task alive.
_closing: set[asyncio.Task[None]] = set()


async def _close(session: _Session) -> None:
    if session.loop is asyncio.get_running_loop():
        await session.http.aclose()
