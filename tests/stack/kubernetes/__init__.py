"""A Kubernetes control plane: etcd and a real API server, enough for objects, RBAC, service accounts and their tokens.

Nothing runs pods and no controller runs: a namespace gets no ``default`` service account and is never quite deleted.
"""

from .control_plane import NAMESPACE, down, up
from .programs import build, built

__all__ = ["NAMESPACE", "build", "built", "down", "up"]
