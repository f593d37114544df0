"""Who asks, by whom the facility trusts to say so: the host, a JupyterHub, an OpenID Connect provider, a Kubernetes cluster."""

from .base import Asker, Provider, UnixPeer
from .chain import Identities

__all__ = ["Asker", "Identities", "Provider", "UnixPeer"]
