"""The keeper's place on a host whose keeper has a pod of its own: the same private socket, forwarded to the pod's door."""
