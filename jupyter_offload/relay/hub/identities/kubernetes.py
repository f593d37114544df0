"""Service accounts of a Kubernetes cluster, whose token the API server reviews."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from typing import Any

from ..config import KubernetesIdentity, prefix_of
from ..problems import not_allowed, unauthenticated
from .base import Asker, is_token, issuer_of, safe_name
from .web import Web

_ACCOUNT = "system:serviceaccount:"


class ServiceAccounts:
    """Vouches for service accounts, which are called ``system:serviceaccount:<namespace>:<name>``.

    Args:
        config: the API server, and what a token must be for.
        others: issuers whose tokens are somebody else's business.
    """

    cache_s = 60.0

    def __init__(self, config: KubernetesIdentity, others: Set[str] = frozenset()) -> None:
        self.prefix = prefix_of(config)
        self._config = config
        self._others = others
        self._url = f"{config.api_url.rstrip('/')}/apis/authentication.k8s.io/v1/tokenreviews"
        self._web = Web(f"The API server at {config.api_url}", self.prefix, config.ca_file, config.timeout_s)

    def takes(self, asker: Asker) -> bool:
        """Whether they show a web token of an issuer that is nobody else's."""
        issuer = issuer_of(asker.token)
        return issuer is not None and issuer not in self._others

    async def identify(self, asker: Asker) -> str:
        """Return whom the API server knows by this token; 403 for an account of a namespace that is not allowed."""
        status = await self._review(asker.token or "")
        if not status.get("authenticated"):
            raise unauthenticated(
                "The API server does not know this token, or it is for somebody else.",
                f"Ask for one with the audience {' or '.join(self._config.audiences)}.",
            )
        # an API server that ignored the audiences does not say any
        if set(self._config.audiences).isdisjoint(status.get("audiences") or ()):
            raise unauthenticated("The token is for another audience.")
        name = safe_name((status.get("user") or {}).get("username"))
        namespace = name.removeprefix(_ACCOUNT).partition(":")[0]
        if not name.startswith(_ACCOUNT):
            raise not_allowed(f"{name} is no service account.", "Use a token of one.")
        if self._config.namespaces and namespace not in self._config.namespaces:
            raise not_allowed(
                f"Accounts of the namespace {namespace} may not use this relay.", "Ask its administrator."
            )
        return f"{self.prefix}{name}"

    async def close(self) -> None:
        """Close connections."""
        await self._web.close()

    async def _review(self, token: str) -> dict[str, Any]:
        try:
            own = (await asyncio.to_thread(self._config.token_file.read_text, encoding="utf-8")).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._web.down(f"{self._config.token_file}: {error}") from error
        if not is_token(own):
            raise self._web.down(f"{self._config.token_file} has no token")
        body = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": self._config.audiences},
        }  # fmt: skip
        answer = await self._web.ask("POST", self._url, {"Authorization": f"Bearer {own}"}, body)
        status = answer.body.get("status") if isinstance(answer.body, dict) else None
        if answer.status in (401, 403):
            raise self._web.down(f"HTTP {answer.status}: the relay's own account may not create TokenReviews")
        if answer.status != 201 or not isinstance(status, dict):
            raise self._web.down(f"HTTP {answer.status}")
        return status
