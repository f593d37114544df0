"""Users of this host, whom the system itself names at a unix socket."""

from __future__ import annotations

import asyncio
import pwd
import socket
import struct
import sys

from ..config import UnixIdentity
from ..problems import not_allowed
from .base import Asker, UnixPeer

#: macOS: level and name of the option, and the structure ``xucred``: version, uid, number of groups, 16 groups.
_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED = 0, 1, "=IIh2x16I"
_UCRED = "=iii"


def peer_of(connection: socket.socket) -> UnixPeer | None:
    """Return who connected to a unix socket; None where the system does not say."""
    try:
        if sys.platform == "darwin":
            said = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, struct.calcsize(_XUCRED))
            version, uid, _, gid, *_ = struct.unpack(_XUCRED, said)
            return UnixPeer(uid, gid) if version == 0 else None
        _, uid, gid = struct.unpack(
            _UCRED, connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_UCRED))
        )
    except OSError:
        return None
    return UnixPeer(uid, gid)


class UnixUsers:
    """Vouches for users of this host: ``unix:<name>``, or the number of one who has no name."""

    prefix = "unix:"
    cache_s = 0.0

    def __init__(self, config: UnixIdentity) -> None:
        self._allow = None if config.allow == "any" else {str(one) for one in config.allow}

    def takes(self, asker: Asker) -> bool:
        """Whether they come by the unix socket and show nothing else."""
        return asker.peer is not None and asker.token is None

    async def identify(self, asker: Asker) -> str:
        """Return who it is; 403 for one who is not on the list."""
        assert asker.peer is not None
        uid = asker.peer.uid
        name = await asyncio.to_thread(_user_name, uid)  # may ask a directory server
        if self._allow is not None and self._allow.isdisjoint((name, str(uid))):
            raise not_allowed(
                f"User {name} ({uid}) may not use this relay.", "Ask its administrator to be put on the list."
            )
        return f"{self.prefix}{name}"

    async def close(self) -> None:
        """Nothing is open."""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
