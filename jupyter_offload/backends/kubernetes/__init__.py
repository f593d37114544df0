"""Workers as pods: on virtual nodes of interLink, and on ordinary nodes."""

from .backend import KubernetesBackend

__all__ = ["KubernetesBackend"]
