"""Opening the paths of sessions: the dialer's side, which tries again, and the listener's, which waits and checks."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import socket
from collections.abc import Callable

from ..hello import ALERT_FIRST_BYTE
from ..names import Kind, Target, server_name
from .dialing import Backoff, Endpoint, dial, endpoints, nobody_leads, shuffled, why
from .path import start_path
from .session import (
    END,
    FRAME,
    NO_PROOF,
    OPENING,
    RESUME,
    RESUMED,
    Session,
    SessionLost,
    proof,
    read_exactly,
)
from .settings import Settings

log = logging.getLogger("distributed.relay")

ANSWER_TIMEOUT_S = 15.0
#: A dialer that closed its connection while the relay and we stayed up has ended; one that merely lost it is back by then.
LINGER_S = 5.0
#: Sessions whose TLS is not finished, of one listener.
MAXIMUM_UNPROVEN = 256


class Dialler:
    """Keeps a session to a peer on a path."""

    def __init__(self, session: Session, peer: str, cluster: str, settings: Settings) -> None:
        self._session = session
        self._settings = settings
        self._target = server_name(Target(Kind.session, peer, cluster), settings.domain)
        self._paths = 0
        self._again: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, peer: str, cluster: str, settings: Settings) -> Session:
        """Return a new session with its first path.

        Raises:
            OSError: no relay leads there now.
        """
        session = Session(
            secrets.token_bytes(16), grace_s=settings.resume_s, window_bytes=settings.window_bytes,
            total_bytes=settings.memory_bytes,
        )  # fmt: skip
        dialler = cls(session, peer, cluster, settings)
        await dialler._dial()
        session.on_path_lost = dialler._lost
        return session

    async def _dial(self) -> None:
        """Try each relay once.

        Raises:
            OSError: none leads there now.
        """
        problems: dict[Endpoint, Exception] = {}
        for endpoint in shuffled(await endpoints(self._settings)):
            try:
                await self._dial_one(endpoint)
            except (OSError, EOFError, ValueError) as error:
                if isinstance(error, SessionLost):
                    raise
                problems[endpoint] = error
            else:
                return
        raise nobody_leads(self._target, problems)

    async def _dial_one(self, endpoint: Endpoint) -> None:
        session, number = self._session, self._paths
        self._paths += 1
        one = await dial(endpoint, self._target)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                mine = session.own_proof(b"dialer", number)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(one, OPENING.pack(session.id, number, session.received, mine))
                received = await self._answer(one, number)
        except TimeoutError as error:
            one.close()
            raise OSError(f"no answer in {ANSWER_TIMEOUT_S:g} s") from error
        except BaseException:
            one.close()
            raise
        path = await start_path(one, session)
        if not session.attach(path, number, received):
            path.abort()
            raise SessionLost("the two ends do not agree on what was received")

    async def _answer(self, one: socket.socket, number: int) -> int:
        """Return how much the listener has got."""
        session = self._session
        kind, length = FRAME.unpack(await read_exactly(one, FRAME.size))
        if kind == ALERT_FIRST_BYTE:
            raise OSError("it knows no such peer, or is at a limit")
        if kind != RESUME or length != RESUMED.size:
            raise SessionLost("the other end does not know this session any more")
        received, theirs = RESUMED.unpack(await read_exactly(one, RESUMED.size))
        if session.secret and not hmac.compare_digest(
            theirs, proof(session.secret, b"listener", session.id, number, received)
        ):
            raise OSError("the answer is not from the other end of this session")
        return int(received)

    def _lost(self, session: Session, silent: bool) -> None:
        log.info("session %s lost its path%s", session.id.hex()[:8], " (silence)" if silent else "")
        if session.secret is None:  # nothing could show that a new path belongs to it
            session.end(SessionLost("the path broke before the session was established"))
        elif self._again is None or self._again.done():
            self._again = asyncio.ensure_future(self._resume())

    async def _resume(self) -> None:
        backoff = Backoff()
        while not self._session.ended and not self._session.connected:
            try:
                await self._dial()
            except SessionLost as error:
                self._session.end(error, tell=False)
            except OSError as error:
                log.debug("session %s: %s", self._session.id.hex()[:8], why(error))
                await backoff.pause()


class Sessions:
    """The sessions of one listener.

    Args:
        registered_at: returns since when a relay has had the listener's name without a break, None if it has not.
    """

    def __init__(self, settings: Settings, registered_at: Callable[[Endpoint], float | None]) -> None:
        self._settings = settings
        self._registered_at = registered_at
        self._sessions: dict[bytes, Session] = {}
        self._unproven: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    async def accept(self, one: socket.socket, endpoint: Endpoint) -> Session | None:
        """Read an opening; return a new session, or None when a path was added to one, or refused.

        The connection is closed when it comes to nothing.

        Raises:
            OSError, EOFError: the connection broke.
            TimeoutError: nothing was said for long.
        """
        new: Session | None = None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                session_id, number, received, theirs = OPENING.unpack(await read_exactly(one, OPENING.size))
                session = self._sessions.get(session_id)
                if session is None and number == 0 and received == 0 and theirs == NO_PROOF:
                    session = new = self._new(session_id)
                elif session is None or not _belongs(session, number, received, theirs):
                    await asyncio.get_running_loop().sock_sendall(one, FRAME.pack(END, 0))
                    one.close()
                    return None
                await self._agree(one, endpoint, session, number)
        except BaseException as error:
            one.close()
            if new is not None:
                new.end(SessionLost(f"it broke while it was opened: {error}"))
            raise
        path = await start_path(one, session)
        if session.paths != number or not session.attach(path, number, received):
            path.abort()
        return new

    async def _agree(self, one: socket.socket, endpoint: Endpoint, session: Session, number: int) -> None:
        """Answer an opening."""
        session.paths = number  # of two openings at once the later one counts
        mine = session.own_proof(b"listener", number)
        session.leave_path()
        session.on_path_lost = lambda _, silent: self._lost(session, endpoint, silent)
        answer = FRAME.pack(RESUME, RESUMED.size) + RESUMED.pack(session.received, mine)
        await asyncio.get_running_loop().sock_sendall(one, answer)

    def _lost(self, session: Session, endpoint: Endpoint, silent: bool) -> None:
        """End a session soon whose dialer closed its connection while the relay stayed up: its process has ended.

        Dask sees at once that a worker died when its connection breaks; a session would hide that for the whole of its
        grace. Silence tells nothing: then a network is cut, and the grace counts.
        """
        since = self._registered_at(endpoint)
        if not silent and since is not None:
            asyncio.get_running_loop().call_later(LINGER_S, self._look_after, session, endpoint, since)

    def _look_after(self, session: Session, endpoint: Endpoint, since: float) -> None:
        if not session.connected and self._registered_at(endpoint) == since:
            session.end(SessionLost("the other end is gone"))

    def _new(self, session_id: bytes) -> Session:
        settings = self._settings
        session = Session(
            session_id, grace_s=settings.resume_s, window_bytes=settings.window_bytes, total_bytes=settings.memory_bytes
        )
        if len(self._unproven) >= MAXIMUM_UNPROVEN:
            oldest = next(iter(self._unproven))
            self._unproven.pop(oldest).end(SessionLost("too many unfinished sessions"))
        self._sessions[session_id] = self._unproven[session_id] = session
        session.on_end = lambda: self._forget(session_id)
        return session

    def proven(self, session: Session) -> None:
        """The other end has shown a certificate of the cluster."""
        self._unproven.pop(session.id, None)

    def _forget(self, session_id: bytes) -> None:
        self._sessions.pop(session_id, None)
        self._unproven.pop(session_id, None)


def _belongs(session: Session, number: int, received: int, theirs: bytes) -> bool:
    if session.secret is None or number <= session.paths:
        return False
    return hmac.compare_digest(theirs, proof(session.secret, b"dialer", session.id, number, received))
