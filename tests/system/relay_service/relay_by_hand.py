"""Both ends of a connection through a relay process, by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_offload.relay.certificates import make_cluster_certificates
from jupyter_offload.relay.hello import client_hello
from jupyter_offload.relay.names import Kind, Target, fingerprint, server_name

from .relay_process import DOMAIN, RelayProcess

TIMEOUT_S = 30


@dataclass
class End:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def hear(self) -> dict[str, Any]:
        """The next message of a control connection; empty when it was closed."""
        line = await asyncio.wait_for(self.reader.readline(), TIMEOUT_S)
        return dict(json.loads(line)) if line else {}

    async def take(self, number: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(number), TIMEOUT_S)

    async def ended(self) -> bool:
        """Read on until it is closed."""
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(self.reader.read(), TIMEOUT_S)
        return True


class Cluster:
    """A cluster with certificates in a folder."""

    def __init__(self, relay: RelayProcess, keys: Path) -> None:
        self.relay = relay
        self.files = make_cluster_certificates(keys, "a-cluster")
        self._ends: list[End] = []  # whoever lets go of one closes it
        self.name = fingerprint(ssl.PEM_cert_to_DER_cert(self.files.ca_file.read_text()))

    async def register(self, port: int | None = None) -> End:
        """Register as its scheduler."""
        context = ssl.create_default_context(cafile=str(self.relay.ca_file))
        context.check_hostname = False  # the name that routes is not the one in the certificate
        context.load_cert_chain(self.files.scheduler_file)
        target = server_name(Target(Kind.listen, cluster=self.name), DOMAIN)
        opened = asyncio.open_connection("127.0.0.1", port or self.relay.port, ssl=context, server_hostname=target)
        end = End(*await asyncio.wait_for(opened, TIMEOUT_S))
        self._ends.append(end)
        said = {"op": "register", "protocol": 1, "name": "scheduler", "instance": "0" * 32}
        end.writer.write(json.dumps(said).encode() + b"\n")
        answer = await end.hear()
        assert answer.get("op") == "registered", answer
        return end

    async def joined(self, control: End) -> tuple[End, End]:
        """Connect to the scheduler, and take it up."""
        connector = await self._to(Target(Kind.session, "scheduler", self.name))
        message = await control.hear()
        assert message["op"] == "open", message
        return connector, await self._to(Target(Kind.accept, message["id"]))

    async def _to(self, target: Target) -> End:
        end = End(*await asyncio.open_connection("127.0.0.1", self.relay.port))
        self._ends.append(end)
        end.writer.write(client_hello(server_name(target, DOMAIN)))
        return end
