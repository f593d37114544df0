"""An ordinary Kubernetes node, for tests, without a kubelet, a container runtime or root: pods are processes of this machine.

It is a process of its own that does to the API server what a kubelet does: it keeps a Node with a heartbeat, runs the pods bound
to it, sets every condition and container state, restarts, probes readiness, deletes in grace, and serves logs.

What is as in a real pod: command, arguments and environment (``fieldRef``, secrets, config maps), volumes at their paths
(secret, configMap, projected with the account's token, downwardAPI, emptyDir, hostPath), an address of the pod's own, a host name, an
/etc/hosts with the names of services, an end of everything with the first process, and the in-cluster account.

What is not: one user, one network and one file system for all pods. Images are names for folders of programs on this machine
(those at a registry in ``.invalid`` cannot be pulled). An address is one of 127.0.0.0/8, and only Python programs take it for
everywhere (``inside/sitecustomize.py``); ports of loopback belong to all pods. A service's name stands for the pod behind
it, so a service's port must be the pod's own. There are no limits, liveness probes, users, exec and port-forward, and volumes
are written once.
"""

from .running import NotPermitted, OrdinaryNode, can_run

__all__ = ["NotPermitted", "OrdinaryNode", "can_run"]
