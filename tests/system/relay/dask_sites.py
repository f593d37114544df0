"""Dask whose scheduler is at the hub and whose workers, with nannies, are at sites that can only dial the relay."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import dask.config
import psutil
from distributed import Client
from distributed.security import Security
from network import RELAY_ADDRESS, RELAY_PORT, Namespace, Network

from jupyter_offload.relay.certificates import (
    ClusterCertificates,
    issue_job_certificate,
    make_cluster_certificates,
    make_relay_certificate,
)  # fmt: skip
from jupyter_offload.relay.client import ClusterStatus, RelayClient, sign_with
from jupyter_offload.relay.names import fingerprint

DOMAIN = "relay.test"
PATIENCE_S = 60.0
LEASE_S = 3600
_JOB_TIME = datetime.timedelta(hours=1)


def until(what: Callable[[], Any], wrong: str, timeout_s: float = PATIENCE_S, step_s: float = 0.05) -> Any:
    """Return the first true result; fail with a sentence after a generous time."""
    end = time.monotonic() + timeout_s
    while not (result := what()):
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {wrong}"
        time.sleep(step_s)
    return result


class Relay:
    """The relay as a service at one address of the hub, started again after it was killed, with the same leases.

    Args:
        like: another relay of the same name, and so with the same certificate.
    """

    def __init__(
        self, network: Network, folder: Path, address: str = RELAY_ADDRESS, *, like: Relay | None = None
    ) -> None:
        self._network = network
        self.address = address
        self._folder = folder / f"relay-{address}"
        self._folder.mkdir()
        self._socket = self._folder / "socket"
        self.ca_file, certificate = like.files if like else make_relay_certificate(folder / "relay", DOMAIN)
        self.files = self.ca_file, certificate
        self._config = self._folder / "relay.yaml"
        # JSON is YAML
        self._config.write_text(json.dumps({
            "domain": DOMAIN, "certificate_file": str(certificate), "state_dir": str(self._folder / "state"),
            "listen": {"host": address, "port": RELAY_PORT}, "unix_socket": {"path": str(self._socket)},
            "identities": [{"type": "unix"}], "drain_s": 8,
        }))  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it, and nobody else, has the port."""
        self._socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "jupyter_offload.relay.hub", "--config", str(self._config)]
        self.process = spawn(self._network.hub, command, self._folder / "log")
        until(self._serves, f"the relay does not listen at {self.address}", step_s=0.01)
        self.check()

    def _serves(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self._folder / "log").read_text()[-2000:]
        return self._socket.exists() and self.process.pid in self.holders()

    def holders(self) -> list[int]:
        """Return the ids of the processes that listen at the relay's address."""
        return self._network.hub.listening(self.address, RELAY_PORT)

    def check(self) -> None:
        """Make sure that this process is the one that answers: a leftover relay must not make a test pass."""
        assert self.process is not None
        assert self.holders() == [self.process.pid]

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        assert self.process is not None
        self.check()
        self.process.kill()
        self.process.wait(PATIENCE_S)
        assert self.holders() == []

    def terminate(self) -> subprocess.Popen[bytes]:
        """SIGTERM, and it drains; return it once it listens no more."""
        assert self.process is not None
        self.check()
        self.process.terminate()
        until(lambda: not self.holders(), "the relay stopped listening", step_s=0.01)
        return self.process

    def admit(self, files: ClusterCertificates) -> None:
        """Take a lease for a cluster, as a keeper on the hub's host does."""
        sign = sign_with((files.ca_file.parent / "ca-key.pem").read_bytes())
        self._ask(lambda client: client.admit(files.ca_file.read_text(), sign, LEASE_S))

    def peers(self, files: ClusterCertificates) -> tuple[str, ...]:
        """Return the names of a cluster that are registered now."""
        status: ClusterStatus | None = self._ask(lambda client: client.describe(fingerprint_of(files)))
        assert status is not None, "the lease is gone"
        return status.peers

    def _ask(self, what: Callable[[RelayClient], Awaitable[Any]]) -> Any:
        async def ask() -> Any:
            async with RelayClient(str(self._socket), DOMAIN) as client:
                return await what(client)

        return asyncio.run(ask())


class SiteCluster:
    """A scheduler at the hub and workers at sites.

    Args:
        addresses: ``host:port`` of relays, as Dask's configuration has them.
        client_addresses: what this process's own client uses instead.
    """

    def __init__(
        self, network: Network, folder: Path, files: ClusterCertificates, relay_ca: Path, *,
        addresses: str = f"{RELAY_ADDRESS}:{RELAY_PORT}", client_addresses: str | None = None, resume: str = "60s",
        **settings: str,
    ) -> None:  # fmt: skip
        self.network = network
        self.folder = folder
        self.files = files
        self.settings = {
            "relay.addresses": addresses, "relay.domain": DOMAIN, "relay.ca-file": str(relay_ca), "relay.resume": resume,
            "distributed.comm.tls.ca-file": str(files.ca_file), "distributed.comm.require-encryption": True, **settings,
        }  # fmt: skip
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._swarms: list[str] = []
        self._client_addresses = client_addresses or addresses

    # ------------------------------------------------------------ processes
    def environment(self, role: str, file: Path) -> dict[str, str]:
        """Return the variables of a process: this configuration, and nothing of this machine's."""
        settings = {
            **self.settings,
            f"distributed.comm.tls.{role}.cert": file,
            f"distributed.comm.tls.{role}.key": file,
        }
        ours = {f"DASK_{key.upper().replace('-', '_').replace('.', '__')}": str(v) for key, v in settings.items()}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DASK_")}
        return {**kept, **ours, "DASK_CONFIG": str(self.folder / "no-dask-yaml"), "OMP_NUM_THREADS": "1"}

    def start_scheduler(self, protocol: str = "relay", host: str = "scheduler") -> str:
        """Start the scheduler at the hub; return its address."""
        file = self.folder / f"{protocol}.json"
        command = [
            sys.executable, "-m", "distributed.cli.dask_scheduler", "--protocol", protocol, "--host", host, "--port", "0",
            "--no-dashboard", "--scheduler-file", str(file),
        ]  # fmt: skip
        self.processes["scheduler"] = spawn(
            self.network.hub, command, self.folder / "scheduler.log",
            self.environment("scheduler", self.files.scheduler_file),
        )  # fmt: skip
        until(file.exists, "the scheduler started")
        address: str = until(lambda: _read_address(file), "the scheduler has an address")
        return address

    def start_worker(
        self, site: int, job: str, *, scheduler: str = "relay://scheduler", host: str | None = None,
        nanny: bool = True, name: str | None = None,
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start what a job of that name at a site would: a worker with a nanny, and a certificate of its own."""
        command = [
            sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--host", host or f"w-{job}-",
            "--protocol", scheduler.partition("://")[0], "--nanny" if nanny else "--no-nanny", "--nthreads", "2",
            "--memory-limit", "2GB", "--no-dashboard", "--local-directory", str(self.folder / f"scratch-{job}"),
            *(["--name", name] if name else []),
        ]  # fmt: skip
        return self._start(site, job, command)

    def start_swarm(self, site: int, job: str, number: int) -> None:
        """Start many workers in one process."""
        script = Path(__file__).with_name("swarm.py")
        command = [sys.executable, str(script), "relay://scheduler", f"w-{job}-", str(number)]
        self._start(site, job, [*command, str(self.folder / f"scratch-{job}")])
        self._swarms.append(job)

    def stop_swarms(self) -> None:
        """Kill them."""
        while self._swarms:
            end_tree(self.processes.pop(self._swarms.pop()))

    def _start(self, site: int, job: str, command: list[str]) -> subprocess.Popen[bytes]:
        certificate = self.folder / f"{job}.pem"
        if not certificate.exists():
            certificate.write_bytes(issue_job_certificate(self.files.ca_file.parent, job, _JOB_TIME))
        self.processes[job] = spawn(
            self.network.sites[site], command, self.folder / f"{job}.log", self.environment("worker", certificate)
        )
        return self.processes[job]

    # ------------------------------------------------------------ the client
    @property
    def security(self) -> Security:
        """What a client needs."""
        file = str(self.files.client_file)
        return Security(
            tls_ca_file=str(self.files.ca_file), tls_client_cert=file, tls_client_key=file, require_encryption=True
        )

    @contextlib.contextmanager
    def configured(self) -> Iterator[None]:
        """Have this process's Dask configured for this cluster."""
        with dask.config.set({**self.settings, "relay.addresses": self._client_addresses}):
            yield

    @contextlib.contextmanager
    def client(self, address: str = "relay://scheduler", **options: Any) -> Iterator[Client]:
        """Connect from the hub, with this process's own client."""
        with self.configured():
            with self.network.hub.entered():  # its thread stays there
                client = Client(address, security=self.security, timeout=PATIENCE_S, **options)
            try:
                yield client
            finally:
                client.close(timeout=5)

    def stop(self) -> None:
        """End all processes."""
        for process in self.processes.values():
            end_tree(process)


def spawn(
    namespace: Namespace, command: list[str], log: Path, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a namespace; its log is appended to a file."""
    there = ["ip", "netns", "exec", namespace.name, *command]  # becomes the command, with the same process id
    with log.open("ab") as out:
        return subprocess.Popen(
            there, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True
        )


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        for one in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)


def make_certificates(folder: Path, cluster_id: str) -> ClusterCertificates:
    """Return the certificates of a new cluster."""
    return make_cluster_certificates(folder / f"certificates-{cluster_id}", cluster_id)


def fingerprint_of(files: ClusterCertificates) -> str:
    """Return a cluster's name at the relay."""
    return fingerprint(ssl.PEM_cert_to_DER_cert(files.ca_file.read_text()))


def slowly(seconds: float) -> Callable[[int], int]:
    """Return a task that takes so long and returns the square of its number (a closure goes to workers by value)."""

    def square(number: int) -> int:
        time.sleep(seconds)
        return number * number

    return square


def workers_of(client: Client) -> list[str]:
    """Return the addresses of the workers that the scheduler knows."""
    return sorted(client.scheduler_info(n_workers=-1)["workers"])


def _read_address(file: Path) -> str | None:
    with contextlib.suppress(ValueError, OSError, KeyError):
        return str(json.loads(file.read_text())["address"])
    return None
