"""Challenges to sign: each is good once and for a minute, and one that nobody redeems costs no memory."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable

from .problems import Problem

LIFE_S = 60
#: Redeemed and not yet expired, by identity: a renewal a second is more than any keeper needs for its clusters.
MOST_REDEEMED = 256
_NONCE_BYTES = 16


class Challenges:
    """Makes challenges and remembers which were redeemed.

    A challenge holds the time of its making and a code that only this process can make, so anybody may ask for as many as they
    like. What is redeemed is remembered until it expires, and only for those who have proved who they are.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._redeemed: dict[str, dict[str, float]] = {}

    def issue(self) -> str:
        """Return a new challenge."""
        said = f"{int(self._clock() * 1000):x}-{secrets.token_hex(_NONCE_BYTES)}"
        return f"{said}-{self._code(said)}"

    def check(self, challenge: str, identity: str) -> None:
        """See that a challenge is ours, young, and unused.

        Raises:
            Problem: ``challenge-expired``: get another one. 429: this identity redeemed too many.
        """
        self._forget(identity)
        said, _, code = challenge.rpartition("-")
        if not challenge.isascii() or not hmac.compare_digest(code, self._code(said)):
            raise _expired("It was made by another relay, or by this one before it was started again.")
        if self._clock() - int(said.partition("-")[0], 16) / 1000 > LIFE_S:
            raise _expired(f"It was good for {LIFE_S} s.")
        mine = self._redeemed.get(identity, {})
        if challenge in mine:
            raise _expired("It works once, and was used.")
        if len(mine) >= MOST_REDEEMED:
            raise Problem(
                429, "too-many-requests", f"{identity} redeemed {len(mine)} challenges within {LIFE_S} s.",
                "Renew leases less often.", retry_after_s=LIFE_S,
            )  # fmt: skip

    def redeem(self, challenge: str, identity: str) -> None:
        """Use a challenge up that was checked just now."""
        self._redeemed.setdefault(identity, {})[challenge] = self._clock() + LIFE_S

    def _code(self, said: str) -> str:
        return hmac.digest(self._key, said.encode(), "sha256").hex()

    def _forget(self, identity: str) -> None:
        now = self._clock()
        mine = self._redeemed.get(identity, {})
        while mine and (oldest := next(iter(mine.items())))[1] < now:
            del mine[oldest[0]]
        if not mine:
            self._redeemed.pop(identity, None)


def _expired(why: str) -> Problem:
    return Problem(409, "challenge-expired", f"The challenge is not good. {why}", "Ask for another one.")
