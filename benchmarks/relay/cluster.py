"""Dask clusters of ordinary processes with the product's certificates, on ``relay://`` through a relay or on plain ``tls://``."""

from __future__ import annotations

import asyncio
import datetime
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from jupyter_offload.keeper.relay.hub_file import hub_configuration
from jupyter_offload.relay.certificates import (
    issue_job_certificate,
    make_cluster_certificates,
    make_relay_certificate,
)
from jupyter_offload.relay.client import RelayClient, sign_with

from ..workspace import until
from .namespaces import Namespace
from .processes import Processes

if TYPE_CHECKING:
    from distributed import Client

LIMIT_S = 120.0
DOMAIN = "relay.test"
LEASE_S = 86400.0


def command_in(space: Namespace | None, *words: str) -> list[str]:
    """Return the command line of a Python module in a namespace, or here."""
    command = [sys.executable, "-m", *words]
    return command if space is None else space.inside(*command)


class Relay:
    """The relay's service as a process, with one cluster admitted.

    Args:
        certificates: folder of the cluster's certificates.
        space: where it runs.
        address: what it listens on.
    """

    def __init__(self, processes: Processes, certificates: Path, space: Namespace | None, address: str) -> None:
        self._processes = processes
        self._folder = processes.place.folder / "relay"
        self._authority, _ = make_relay_certificate(self._folder, DOMAIN)
        self._admission = self._folder / "relay.sock"
        self._space, self._address, self.port = space, address, _free_port(space, address)
        (self._folder / "relay.yaml").write_text(
            hub_configuration(self._folder, self._admission, DOMAIN, address, self.port)
        )
        self.start()
        asyncio.run(self._admit(certificates))

    def start(self) -> None:
        """Start it and wait until it answers; it knows again what it had admitted."""
        words = ("jupyter_offload.relay.hub", str(self._folder / "relay.yaml"))
        self._admission.unlink(missing_ok=True)
        self._process = self._processes.start("relay", command_in(self._space, *words))
        until(lambda: self._process.poll() is not None or self._answers(), LIMIT_S)
        if self._process.poll() is not None:
            raise RuntimeError(f"the relay ended: {self._processes.said('relay')}")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as one:
            return one.connect_ex(str(self._admission)) == 0

    async def _admit(self, certificates: Path) -> None:
        sign = sign_with((certificates / "ca-key.pem").read_bytes())
        async with RelayClient(str(self._admission), DOMAIN) as door:
            await door.admit((certificates / "ca.pem").read_text(), sign, LEASE_S)

    def kill(self) -> None:
        """End it without a word (SIGKILL)."""
        self._processes.kill(self._process)

    def cpu_s(self) -> float:
        """Return the CPU time that it has taken since it was started."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def rss_mib(self) -> float:
        """Return its resident memory."""
        return float(psutil.Process(self._process.pid).memory_info().rss / 2**20)

    def settings(self) -> dict[str, Any]:
        """Return what Dask must know of it."""
        return {"addresses": [f"{self._address}:{self.port}"], "domain": DOMAIN, "ca-file": str(self._authority)}


class DaskCluster:
    """A scheduler, with as many workers as somebody starts.

    Args:
        space: where scheduler, relay and client are.
        address: theirs.
        relayed: on ``relay://``, else on ``tls://``.
    """

    client: Client

    def __init__(self, processes: Processes, space: Namespace | None, address: str, *, relayed: bool) -> None:
        self.processes = processes
        self._space = space
        self._folder = processes.place.folder
        self._files = make_cluster_certificates(self._folder / "certificates", "benchmark")
        self.relay = Relay(processes, self._files.ca_file.parent, space, address) if relayed else None
        said = self._folder / "scheduler.json"
        words = (
            "distributed.cli.dask_scheduler", "--protocol", "relay" if relayed else "tls", "--port", "0",
            "--host", "scheduler" if relayed else address, "--scheduler-file", str(said), "--no-dashboard",
        )  # fmt: skip
        config = self.config("scheduler", self._files.scheduler_file)
        self._scheduler = processes.start("scheduler", command_in(space, *words), {"DASK_CONFIG": str(config)})
        self.address = str(until(lambda: _address_in(said), LIMIT_S))

    def config(self, role: str, certificate: Path) -> Path:
        """Write Dask's configuration of a scheduler or worker and return its folder."""
        whole: dict[str, Any] = {
            "distributed": {
                "comm": {
                    "require-encryption": True,
                    "tls": {
                        "ca-file": str(self._files.ca_file),
                        role: {"cert": str(certificate), "key": str(certificate)},
                    },
                }
            }
        }
        if self.relay is not None:
            whole["relay"] = self.relay.settings()
        folder = self._folder / f"dask-{certificate.stem}"
        folder.mkdir(exist_ok=True)
        (folder / "dask.yaml").write_text(json.dumps(whole))
        return folder

    def worker_config(self, job: str) -> Path:
        """Return the configuration of what is started as one job, which has a certificate of its own."""
        path = self._folder / f"{job}.pem"
        path.write_bytes(issue_job_certificate(self._folder / "certificates", job, datetime.timedelta(hours=8)))
        return self.config("worker", path)

    def host(self, job: str, address: str) -> str:
        """Return what workers of a job listen as."""
        return address if self.relay is None else f"w-{job}-"

    def start_worker(self, job: str, space: Namespace | None, address: str) -> None:
        """Start one ``dask worker`` of one thread, with a nanny."""
        words = (
            "distributed.cli.dask_worker", self.address, "--nthreads", "1", "--memory-limit", "4GiB", "--no-dashboard",
            "--local-directory", str(self._folder), "--name", job, "--host", self.host(job, address),
            "--protocol", "tls" if self.relay is None else "relay",
        )  # fmt: skip
        config = self.worker_config(job)
        self.processes.start(job, command_in(space, *words), {"DASK_CONFIG": str(config)})

    @contextmanager
    def connected(self, workers: int = 0) -> Iterator[None]:
        """Connect ``client`` and wait for so many workers."""
        import dask
        from distributed import Client
        from distributed.security import Security

        pem = str(self._files.client_file)
        security = Security(
            tls_ca_file=str(self._files.ca_file), tls_client_cert=pem, tls_client_key=pem, require_encryption=True
        )
        with ExitStack() as stack:
            if self.relay is not None:
                stack.enter_context(dask.config.set({"relay": self.relay.settings()}))
            # The thread of the client's loop starts here, and opens its connections from where it started.
            with self._space.entered() if self._space is not None else nullcontext():
                self.client = Client(self.address, security=security, timeout=LIMIT_S)
            stack.callback(self.client.close)
            if workers:
                self.client.wait_for_workers(workers, timeout=LIMIT_S)
            yield


def _free_port(space: Namespace | None, address: str) -> int:
    with space.entered() if space is not None else nullcontext(), socket.create_server((address, 0)) as trial:
        return int(trial.getsockname()[1])


def _address_in(scheduler_file: Path) -> str | None:
    try:
        return str(json.loads(scheduler_file.read_text())["address"])
    except (FileNotFoundError, ValueError):
        return None
