"""A Kubernetes control plane: etcd and a real API server, and where wanted the controller manager and the scheduler.

It has no node; nodes of different kinds are added by other parts of the stack.
"""

from .control_plane import NAMESPACE, down, runs, up
from .programs import build, built

__all__ = ["NAMESPACE", "build", "built", "down", "runs", "up"]
