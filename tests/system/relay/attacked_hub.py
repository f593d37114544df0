"""A relay in a process of its own, whose memory can be looked at while it is attacked: `python attacked_hub.py CONFIG`.

CONFIG is JSON: ``certificate``, ``authorities`` (PEM files), ``control`` (path of a unix socket), ``limits`` and
``cluster_limits``. Whoever connects to the socket gets all the relay's numbers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from jupyter_offload.relay.hub.hub import Hub
from jupyter_offload.relay.hub.limits import HubLimits
from jupyter_offload.relay.hub.registry import ClusterLimits, Registry
from jupyter_offload.relay.hub.tls import RelayCertificate
from jupyter_offload.relay.names import fingerprint

DOMAIN = "relay.test"


class AttackedHub:
    """The process, from outside."""

    def __init__(self, folder: Path, certificate: Path, authorities: list[Path], **limits: dict[str, Any]) -> None:
        self._control = folder / "control"
        config = {
            "certificate": str(certificate), "authorities": [str(a) for a in authorities], "control": str(self._control),
            "limits": {}, "cluster_limits": {},
        }  # fmt: skip
        (folder / "hub.json").write_text(json.dumps(config | limits))
        self.log = folder / "hub.log"
        with self.log.open("w") as log:
            command = [sys.executable, __file__, str(folder / "hub.json")]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline() or 0)
        assert self.port, self.log.read_text()

    def number(self, name: str, **labels: str) -> float:
        """One of its numbers, 0 when it was never counted."""
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(30)
            one.connect(str(self._control))
            with one.makefile() as answer:
                samples = json.load(answer)
        return sum(v for n, ls, v in samples if n == f"offload_relay_{name}" and labels.items() <= ls.items())

    def wait_for(self, value: float, name: str, **labels: str) -> None:
        """Wait until one of its numbers is so high."""
        end = time.monotonic() + 60
        while self.number(name, **labels) < value:
            assert time.monotonic() < end, f"{name} is still {self.number(name, **labels):g}"
            time.sleep(0.05)

    @property
    def memory_mb(self) -> float:
        return psutil.Process(self._process.pid).memory_info().rss / 1e6

    @property
    def descriptors(self) -> int:
        return psutil.Process(self._process.pid).num_fds()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """It must end by itself when it is told to."""
        self._process.send_signal(signal.SIGTERM)
        try:
            assert self._process.wait(20) == 0, self.log.read_text()[-3000:]
        finally:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()


async def serve(config: dict[str, Any]) -> None:
    registry = Registry()
    for file in config["authorities"]:
        pem = Path(file).read_text()
        limits = ClusterLimits(**config["cluster_limits"])
        registry.admit(fingerprint(ssl.PEM_cert_to_DER_cert(pem)), pem, "unix:test", limits)
    certificate = RelayCertificate(Path(config["certificate"]))
    hub = Hub(DOMAIN, certificate, registry, HubLimits(**config["limits"]), lambda stream, _: stream.close())
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps([(s.name, s.labels, s.value) for s in hub.samples()]).encode())
        writer.close()

    await hub.start("127.0.0.1", 0)
    async with await asyncio.start_unix_server(tell, config["control"]):
        print(hub.addresses[0][1], flush=True)
        await ended.wait()
        await hub.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
