"""Users of a JupyterHub, whom the Hub names for their API token."""

from __future__ import annotations

from ..config import HubIdentity, prefix_of
from ..problems import not_allowed, unauthenticated
from .base import Asker, is_web_token, safe_name
from .web import Web


class HubUsers:
    """Vouches for users of a Hub."""

    cache_s = 60.0

    def __init__(self, config: HubIdentity) -> None:
        self.prefix = prefix_of(config)
        self._url = f"{config.api_url}/user"
        self._groups = set(config.groups)
        self._web = Web(f"The Hub at {config.api_url}", self.prefix, config.ca_file, config.timeout_s)

    def takes(self, asker: Asker) -> bool:
        """Whether they show a token that is no web token: a Hub's have no parts."""
        return asker.token is not None and not is_web_token(asker.token)

    async def identify(self, asker: Asker) -> str:
        """Return whom the Hub knows by this token; 403 for one who is in none of the groups."""
        answer = await self._web.ask("GET", self._url, {"Authorization": f"token {asker.token}"})
        if answer.status in (401, 403):
            raise unauthenticated(
                "The Hub does not know this token.", "It may be of a session that is over; use one of a session of now."
            )
        if answer.status != 200 or not isinstance(answer.body, dict):
            raise self._web.down(f"HTTP {answer.status}")
        if answer.body.get("kind") != "user":
            raise not_allowed("This token is of a service of the Hub.", "Use one of a user.")
        name = safe_name(answer.body.get("name"))
        if self._groups and self._groups.isdisjoint(answer.body.get("groups") or ()):
            raise not_allowed(
                f"{name} is in none of the groups {', '.join(sorted(self._groups))} of the Hub.",
                "Ask the Hub's administrator.",
            )
        return f"{self.prefix}{name}"

    async def close(self) -> None:
        """Close connections."""
        await self._web.close()
