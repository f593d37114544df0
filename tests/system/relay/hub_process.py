"""A relay as a process of its own: `python hub_process.py CONFIG`, with clusters that are simply admitted.

CONFIG is JSON: ``domain``, ``certificate`` and ``authorities`` (PEM files), ``host``, ``port``, ``control`` (path of a unix
socket, which answers with what the relay knows), ``drain_s``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

from jupyter_offload.relay.hub.hub import Hub
from jupyter_offload.relay.hub.limits import HubLimits
from jupyter_offload.relay.hub.registry import ClusterLimits, Registry
from jupyter_offload.relay.hub.tls import RelayCertificate
from jupyter_offload.relay.names import fingerprint


async def serve(config: dict[str, Any]) -> None:
    registry = Registry()
    for file in config["authorities"]:
        pem = Path(file).read_text()
        registry.admit(fingerprint(ssl.PEM_cert_to_DER_cert(pem)), pem, "unix:test", ClusterLimits())
    certificate = RelayCertificate(Path(config["certificate"]))
    hub = Hub(config["domain"], certificate, registry, HubLimits(), lambda stream, _: stream.close())
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers = {name: registry.describe(name).peers for name in registry.clusters()}  # type: ignore[union-attr]
        writer.write(json.dumps(peers).encode())
        writer.close()

    Path(config["control"]).unlink(missing_ok=True)
    await hub.start(config["host"], config["port"])
    async with await asyncio.start_unix_server(tell, config["control"]):
        await ended.wait()
        await hub.drain(config["drain_s"])
        await hub.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
