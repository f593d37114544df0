"""A real relay in a thread of the test: the hub without its HTTPS, with one cluster admitted."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from jupyter_offload.relay.certificates import make_relay_certificate
from jupyter_offload.relay.hub.hub import Hub
from jupyter_offload.relay.hub.limits import HubLimits
from jupyter_offload.relay.hub.registry import ClusterLimits, Registry
from jupyter_offload.relay.hub.tls import RelayCertificate
from jupyter_offload.relay.names import fingerprint

DOMAIN = "relay.test"


class HubThread:
    """Started at once; ``stop`` and ``start`` again keep the port."""

    def __init__(self, folder: Path, cluster_ca: Path) -> None:
        self.ca_file, self._certificate = make_relay_certificate(folder, DOMAIN)
        self._cluster_ca = cluster_ca.read_text()
        self.port = 0
        self.start()

    @property
    def launch(self) -> dict[str, Any]:
        """The part ``relay`` of launch.json."""
        return {
            "addresses": [f"127.0.0.1:{self.port}"], "domain": DOMAIN, "ca_file": str(self.ca_file), "resume_s": 30,
        }  # fmt: skip

    def start(self) -> None:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), daemon=True)
        self._thread.start()
        assert started.wait(20)

    async def _run(self, started: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        registry = Registry()
        der = _der(self._cluster_ca)
        registry.admit(fingerprint(der), self._cluster_ca, "tester", ClusterLimits())
        hub = Hub(DOMAIN, RelayCertificate(self._certificate), registry, HubLimits(), lambda stream, _: stream.close())
        await hub.start("127.0.0.1", self.port)
        self.port = hub.addresses[0][1]
        started.set()
        await self._ended.wait()
        await hub.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(20)
        assert not self._thread.is_alive()


def _der(pem: str) -> bytes:
    import ssl

    return ssl.PEM_cert_to_DER_cert(pem)
