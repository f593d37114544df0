"""The relay's door for keepers: admit, revoke, withdraw, each with a timeout, and every failure as the card says it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TypeVar

from ...relay.client import RelayClient, RelayError, RelayRefused, sign_with
from ...relay.names import fingerprint
from .identity import read_token
from .problems import RelayProblem, refused, unreachable
from .settings import HTTPS, RelayUse

T = TypeVar("T")
#: Where one of several relays did not admit the cluster, it is asked again soon.
_PARTLY_S = 30.0


class Admission:
    """Where the clusters of one relay are admitted. Each method raises ``RelayProblem``.

    Several addresses may be several relays that know nothing of each other, so each of them is asked.
    """

    def __init__(self, use: RelayUse) -> None:
        self._use = use

    async def admit(self, folder: Path, lease_s: float, revoked: Collection[str]) -> float:
        """Take or renew the lease of the cluster whose CA is in ``folder``; return its end, in seconds since the epoch.

        Raises:
            RelayProblem: no relay admits it.
            OSError: the CA's files cannot be read.
        """
        ca_pem, key = await asyncio.to_thread(
            lambda: ((folder / "ca.pem").read_text(), (folder / "ca-key.pem").read_bytes())
        )
        sign = sign_with(key)
        outcomes = await self._ask_all(lambda client: client.admit(ca_pem, sign, lease_s, revoked))
        ends = [outcome.expires_at for outcome in outcomes if not isinstance(outcome, RelayProblem)]
        if len(ends) < len(outcomes):
            ends.append(time.time() + _PARTLY_S)
        return min(ends)

    async def revoke(self, cluster: str, pattern: str) -> None:
        """Let in no certificate of this name any more."""
        await self._ask_all(lambda client: client.revoke(cluster, pattern), all_of_them=True)

    async def withdraw(self, cluster: str) -> None:
        """End the lease of a cluster."""
        await self._ask_all(lambda client: client.withdraw(cluster), all_of_them=True)

    async def trial(self) -> None:
        """See whether the relay takes our word, by a question about a cluster that cannot exist."""
        nobody = fingerprint(secrets.token_bytes(32))

        async def ask(client: RelayClient) -> None:
            await client.health()
            await client.describe(nobody)

        await self._ask_all(ask, all_of_them=True)

    async def _ask_all(
        self, question: Callable[[RelayClient], Awaitable[T]], *, all_of_them: bool = False
    ) -> list[T | RelayProblem]:
        """Ask every relay at once; raise the problem of one where none is without, or any has to be."""
        addresses = self._use.addresses if self._use.admission == HTTPS else [self._use.admission]
        outcomes = await asyncio.gather(*(self._ask(address, question) for address in addresses))
        problems = [outcome for outcome in outcomes if isinstance(outcome, RelayProblem)]
        if problems and (all_of_them or len(problems) == len(outcomes)):
            raise problems[0]
        return list(outcomes)

    async def _ask(self, address: str, question: Callable[[RelayClient], Awaitable[T]]) -> T | RelayProblem:
        use = self._use
        ca_file = Path(use.ca_file) if use.ca_file is not None else None
        try:
            async with RelayClient(
                address, use.domain, ca_file=ca_file, token=lambda: read_token(use.identity)
            ) as client:
                return await question(client)
        except RelayProblem as problem:
            return problem
        except RelayError as error:
            say = refused if isinstance(error, RelayRefused) else unreachable
            return say(error.detail, error.hint)
