"""An OpenID Connect provider (``oidc-provider``, which is certified), whose clients get tokens by their secret."""

from .programs import build, built
from .provider import AUDIENCE, Provider, down, up

__all__ = ["AUDIENCE", "Provider", "build", "built", "down", "up"]
