"""Users of an OpenID Connect provider, by a token that it signed for this relay."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import jwt

from ..config import OidcIdentity, prefix_of
from ..problems import ProviderDown, not_allowed, unauthenticated
from .base import Asker, issuer_of, safe_name
from .web import Web

#: Signatures that need the provider's private key. Never those with a shared secret, and never none.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
#: Clocks differ.
_LEEWAY_S = 30
#: Keys are read again when they are older, and for a key that is not among them, but not more often than this.
_KEYS_OLD_S = 3600.0
_KEYS_AGAIN_S = 30.0
#: After it did not answer, it is left alone for so long.
_SILENT_S = 2.0


class OidcUsers:
    """Vouches for users of a provider."""

    cache_s = 0.0  # nobody needs to be asked

    def __init__(self, config: OidcIdentity, again_s: float = _KEYS_AGAIN_S) -> None:
        self.prefix = prefix_of(config)
        self._config = config
        self._again_s = again_s
        # a provider may be outside of the facility
        name = f"The identity provider {config.issuer}"
        self._web = Web(name, self.prefix, config.ca_file, config.timeout_s, environment=True)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at = float("-inf")
        self._again_at = float("-inf")
        self._silent: ProviderDown | None = None
        self._reading = asyncio.Lock()

    def takes(self, asker: Asker) -> bool:
        """Whether they show a token that names this issuer."""
        return issuer_of(asker.token) == self._config.issuer

    async def identify(self, asker: Asker) -> str:
        """Return whom a token names that the provider signed for this relay; 403 where a required claim is missing."""
        token = asker.token or ""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise unauthenticated("The token is malformed.") from error
        key = await self._key(header.get("kid"))
        try:
            claims = jwt.decode(
                token, key, algorithms=_ALGORITHMS, audience=self._config.audience, issuer=self._config.issuer,
                leeway=_LEEWAY_S, options={"require": ["exp", "iss", "aud"]},
            )  # fmt: skip
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise unauthenticated(f"The token is not good: {error}.", "Get a new one for this relay.") from error
        name = safe_name(claims.get(self._config.claim))
        for claim, wanted in self._config.require.items():
            said = claims.get(claim)
            if said != wanted and not (isinstance(said, list) and wanted in said):
                raise not_allowed(f"The token of {name} has no {claim} {wanted}.", "Ask the provider's administrator.")
        return f"{self.prefix}{name}"

    async def close(self) -> None:
        """Close connections."""
        await self._web.close()

    async def _key(self, kid: Any) -> jwt.PyJWK:
        """Return the key of that name. Old keys are good while the provider does not answer."""
        async with self._reading:
            old = time.monotonic() - self._read_at > _KEYS_OLD_S
            if (old or self._find(kid) is None) and time.monotonic() >= self._again_at:
                await self._refresh()
        key = self._find(kid)
        if key is not None:
            return key
        if self._silent is not None:
            raise self._silent.with_traceback(None)
        raise unauthenticated("The token is signed with a key that its issuer does not publish.")

    async def _refresh(self) -> None:
        try:
            self._keys = await self._read()
        except ProviderDown as problem:
            self._silent = problem
            self._again_at = time.monotonic() + min(_SILENT_S, self._again_s)
        else:
            self._silent = None
            self._read_at = time.monotonic()
            self._again_at = self._read_at + self._again_s

    def _find(self, kid: Any) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid) if isinstance(kid, str) else None

    async def _read(self) -> dict[str, jwt.PyJWK]:
        issuer = self._config.issuer
        found = await self._web.ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.status != 200 or not isinstance(found.body, dict):
            raise self._web.down(f"HTTP {found.status} for its configuration")
        if found.body.get("issuer") != issuer:
            raise self._web.down(f"it calls itself {found.body.get('issuer')!r}")
        where = found.body.get("jwks_uri")
        if not isinstance(where, str) or not where.startswith(issuer.partition("://")[0] + "://"):
            raise self._web.down(f"its keys are at {where!r}")
        said = await self._web.ask("GET", where)
        keys = said.body.get("keys") if isinstance(said.body, dict) else None
        if said.status != 200 or not isinstance(keys, list):
            raise self._web.down(f"HTTP {said.status} for its keys")
        return dict(_usable(keys))


def _usable(keys: list[Any]) -> list[tuple[str, jwt.PyJWK]]:
    """Return the keys that sign, by name; of kinds that we do not know there may be more."""
    usable = []
    for number, key in enumerate(keys):
        if not isinstance(key, dict) or key.get("use", "sig") != "sig":
            continue
        try:
            made = jwt.PyJWK.from_dict(key)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        if made.algorithm_name in _ALGORITHMS:
            usable.append((str(key.get("kid", number)), made))
    return usable
