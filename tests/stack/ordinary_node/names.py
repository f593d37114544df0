"""Names of services, as every pod of the node finds them in its /etc/hosts: there is no DNS here.

A name stands for the pod behind the service, so it is reached at the pod's own ports: those of the service must be the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .api import JSON

_DOMAIN = "cluster.local"


def hosts_of_services(services: Iterable[JSON], pods: list[JSON], namespace: str) -> list[str]:
    """Return the lines of a hosts file in a namespace for the services that have a ready pod behind them."""
    ready = [pod for pod in pods if _is_ready(pod)]
    lines = []
    for service in services:
        meta, selector = service["metadata"], service["spec"].get("selector")
        if not selector:
            continue
        unready_too = service["spec"].get("publishNotReadyAddresses", False)
        for pod in pods if unready_too else ready:
            if pod["metadata"]["namespace"] == meta["namespace"] and _selects(selector, pod):
                address = pod.get("status", {}).get("podIP")
                name = f"{meta['name']}.{meta['namespace']}"
                if address:
                    short = f" {meta['name']}" if meta["namespace"] == namespace else ""
                    lines.append(f"{address} {name}.svc.{_DOMAIN} {name}.svc {name}{short}")
                    break
    return lines


def _selects(selector: JSON, pod: JSON) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())


def _is_ready(pod: JSON) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


class HostsFile:
    """A pod's hosts file. It is written in place, since it is mounted where the pod reads it.

    Args:
        path: created.
        own: the line of the pod itself.
    """

    def __init__(self, path: Path, own: str) -> None:
        self.path = path
        self._own = own
        self._written = ""
        path.touch(mode=0o644)

    def show(self, services: list[str]) -> None:
        """Write the names if they are other than before; whoever reads meanwhile finds the old ones or the new ones."""
        text = "\n".join(["127.0.0.1 localhost", self._own, *services, ""])
        if text == self._written:
            return
        before = len(self._written.encode())
        content = text.encode()
        # One write: what remains of a longer text is blank lines.
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, content.ljust(before, b"\n"), 0)
        finally:
            os.close(descriptor)
        self._written = text
