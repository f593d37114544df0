"""What is known about whoever asks, and what somebody who vouches for them can do."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Protocol

from ..problems import unauthenticated

#: Tokens are well below it; headers may be longer.
LONGEST_TOKEN = 8192
_LONGEST_NAME = 256
_TOKEN = re.compile(r"[!-~]+\Z")


@dataclass(frozen=True)
class UnixPeer:
    """The process at the other end of a unix socket."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Asker:
    """Whoever asks: ``source`` is what failures count for, and is no identity. The token is never shown."""

    source: str
    token: str | None = field(default=None, repr=False)
    peer: UnixPeer | None = None


class Provider(Protocol):
    """Vouches for one kind of credentials.

    ``prefix`` begins all its identities. ``cache_s`` is for how long an answer may be used again.
    """

    prefix: str
    cache_s: float

    def takes(self, asker: Asker) -> bool:
        """Whether these credentials are for this provider, by their look; no other one is shown them."""
        ...

    async def identify(self, asker: Asker) -> str:
        """Return who it is.

        Raises:
            Problem: 401 nobody, 403 somebody who may not come.
            ProviderDown: it cannot be told now.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


def is_token(text: str) -> bool:
    """Whether this can be sent as a token. What else would be sent is quoted in errors, and those are logged."""
    return _TOKEN.match(text) is not None


def issuer_of(token: str | None) -> str | None:
    """Return the issuer that a JSON web token names, which nobody has verified; None if it is no such token."""
    parts = (token or "").split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        issuer = claims["iss"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return issuer if isinstance(issuer, str) else None


def is_web_token(token: str | None) -> bool:
    """Whether it looks like a JSON web token."""
    return issuer_of(token) is not None


def safe_name(name: object) -> str:
    """Return a name as part of an identity.

    Raises:
        Problem: 401; it is no text, or nothing that belongs into a log or a list.
    """
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise unauthenticated("The identity provider gave no usable name.")
    return name
