"""All identity providers as one: each credential goes to whom it is for, and answers are remembered for a moment."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

from ..config import AnyIdentity, HubIdentity, KubernetesIdentity, OidcIdentity, UnixIdentity
from ..problems import Problem, ProviderDown, unauthenticated
from ..throttle import Throttle
from .base import LONGEST_TOKEN, Asker, Provider, is_token
from .jupyterhub import HubUsers
from .kubernetes import ServiceAccounts
from .oidc import OidcUsers
from .unix import UnixUsers

#: A keeper that tries a refused token again and again troubles nobody but us.
_REFUSED_S = 10.0
_MOST_REMEMBERED = 4096


class Identities:
    """Tells who asks.

    Args:
        providers: in the order in which they are asked.
        throttle: counts refusals by source.
    """

    def __init__(
        self, providers: Sequence[Provider], throttle: Throttle, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._providers = providers
        self._throttle = throttle
        self._clock = clock
        #: hash of a token: identity, or why not, and until when that may be used
        self._remembered: dict[bytes, tuple[str | Problem, float]] = {}

    async def identify(self, asker: Asker) -> str:
        """Return who asks.

        Raises:
            Problem: 401 nobody vouches for them, 403 they may not come, 429 too many such attempts from there.
            ProviderDown: it cannot be told now.
        """
        if asker.token is not None and (len(asker.token) > LONGEST_TOKEN or not is_token(asker.token)):
            raise unauthenticated(f"A token is one word of at most {LONGEST_TOKEN} letters, digits and signs.")
        remembered = self._recall(asker.token)
        if isinstance(remembered, str):
            return remembered
        self._throttle.check(asker.source)
        try:
            if remembered is not None:
                raise remembered.with_traceback(None)
            return await self._ask(asker)
        except ProviderDown:
            raise
        except Problem:
            self._throttle.failed(asker.source)
            raise

    async def close(self) -> None:
        """Close connections to providers."""
        for provider in self._providers:
            await provider.close()

    async def _ask(self, asker: Asker) -> str:
        """Ask one after the other. One that is silent may be the one that knows, so then nobody is refused."""
        down: list[str] = []
        refused: Problem | None = None
        silent: ProviderDown | None = None
        for provider in self._providers:
            if not provider.takes(asker):
                continue
            try:
                identity = await provider.identify(asker)
            except ProviderDown as problem:
                down += problem.prefixes
                silent = problem
            except Problem as problem:
                # that somebody is known and not allowed says more than that another does not know them
                refused = problem if refused is None or problem.status == 403 else refused
            else:
                self._remember(asker.token, identity, provider.cache_s)
                return identity
        if silent is not None:
            raise ProviderDown(tuple(down), silent.detail)
        if refused is None:
            refused = _nobody(asker)
        self._remember(asker.token, refused, _REFUSED_S)
        raise refused

    # ------------------------------------------------------------ a short memory of hashes
    def _recall(self, token: str | None) -> str | Problem | None:
        if token is None:
            return None
        answer, until = self._remembered.get(_hash(token), (None, 0.0))
        return answer if self._clock() < until else None

    def _remember(self, token: str | None, answer: str | Problem, seconds: float) -> None:
        if token is None or not seconds:
            return
        self._remembered[_hash(token)] = (answer, self._clock() + seconds)
        if len(self._remembered) > _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]


def providers_of(identities: Sequence[AnyIdentity]) -> list[Provider]:
    """Return the providers that a configuration names. A web token is shown to its own issuer before any API server."""
    made: list[Provider] = []
    for one in identities:
        if isinstance(one, UnixIdentity):
            made.append(UnixUsers(one))
        elif isinstance(one, HubIdentity):
            made.append(HubUsers(one))
        elif isinstance(one, OidcIdentity):
            made.append(OidcUsers(one))
    issuers = {one.issuer for one in identities if isinstance(one, OidcIdentity)}
    made += [ServiceAccounts(one, issuers) for one in identities if isinstance(one, KubernetesIdentity)]
    return made


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _nobody(asker: Asker) -> Problem:
    if asker.token is not None:
        return unauthenticated(
            "Nobody whom this relay trusts issues such tokens.",
            "Use a token of one of the identity providers in its configuration.",
        )
    return unauthenticated(
        "The request says not who asks.", "Send the header Authorization: Bearer with a token, or use the unix socket."
    )
