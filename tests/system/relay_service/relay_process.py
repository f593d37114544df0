"""A relay as its administrator runs it: a process, a configuration file, signals and a log."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from jupyter_offload.relay.certificates import make_cluster_certificates, make_relay_certificate
from jupyter_offload.relay.client import Lease, RelayClient, sign_with

DOMAIN = "relay.test"
PATIENCE_S = 60


class RelayProcess:
    """A relay with a folder of its own; it admits users of this host unless ``changes`` to its configuration say otherwise."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca_file, self.certificate_file = make_relay_certificate(folder / "tls", DOMAIN)
        self._short = Path(tempfile.mkdtemp(dir="/tmp", prefix="relay-"))  # paths of sockets are bounded
        self.socket = self._short / "s"
        self.port = self.metrics_port = 0  # the system finds them at the first start; then they stay
        self.file = folder / "relay.yaml"
        self.config: dict[str, Any] = {
            "domain": DOMAIN, "certificate_file": str(self.certificate_file), "state_dir": str(folder / "state"),
            "listen": {"host": "127.0.0.1", "port": 0}, "unix_socket": {"path": str(self.socket)},
            "metrics": {"address": "127.0.0.1:0"}, "identities": [{"type": "unix"}],
            "shortest_lease_s": 1, "drain_s": 0,
        } | changes  # fmt: skip
        self.write()
        self.log_file = folder / "relay.log"
        self.log_file.touch()
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, **changes: Any) -> None:
        """Write the configuration, with changes."""
        self.config |= changes
        self.file.write_text(yaml.safe_dump(self.config))

    def spawn(self) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            command = [sys.executable, "-m", "jupyter_offload.relay.hub", "--config", str(self.file)]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")

    def start(self) -> RelayProcess:
        before = len(self.events("ready"))
        self.process = self.spawn()
        self.until(lambda: len(self.events("ready")) > before)
        self.port, self.metrics_port = (self.events(event)[-1]["port"] for event in ("listening", "metrics"))
        host, _, port = self.config["metrics"]["address"].rpartition(":")
        if port == "0":
            self.config["metrics"]["address"] = f"{host}:{self.metrics_port}"
        self.write(listen=self.config["listen"] | {"port": self.port})
        return self

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def reload(self) -> None:
        """Have it read its files again, and wait until it has."""
        before = len(self.events("certificate-read")) + len(self.events("certificate-bad"))
        self.signal(signal.SIGHUP)
        self.until(lambda: len(self.events("certificate-read")) + len(self.events("certificate-bad")) > before)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def dispose(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self._short)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def events(self, event: str) -> list[dict[str, Any]]:
        """What the log has of one kind."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line.get("event") == event]

    def until(self, what: Callable[[], Any]) -> Any:
        """Return the first true value."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := what()):
            assert self.process is None or self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return value

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def here(self) -> RelayClient:
        """A client at the unix socket."""
        return RelayClient(str(self.socket), DOMAIN)

    def there(self, token: str | None = None) -> RelayClient:
        """A client by TLS."""
        return RelayClient(self.address, DOMAIN, ca_file=self.ca_file, token=lambda: token)


async def admit(client: RelayClient, keys: Path, lease_s: float = 600) -> Lease:
    """Ask for the lease of the cluster whose certificates lie, or are to lie, in a folder."""
    files = make_cluster_certificates(keys, "a-cluster")
    return await client.admit(files.ca_file.read_text(), sign_with((keys / "ca-key.pem").read_bytes()), lease_s)
