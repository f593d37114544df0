"""Ways to get a cluster, all with one interface, so that they are timed alike: ours, a bare LocalCluster, dask-labextension."""

from __future__ import annotations

import sys
import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import httpx

from .servers import JupyterServer
from .workspace import Workspace, environment, until

if TYPE_CHECKING:
    from distributed import Client

LIMIT_S = 90.0
WORKERS = 2
WORKER_MEMORY = "2 GiB"


def registered(client: Client) -> int:
    """Return how many workers the scheduler has. ``Client.wait_for_workers`` sleeps 0.1 s between looks: too coarse."""

    def count(dask_scheduler: Any) -> int:
        return len(dask_scheduler.workers)

    return int(client.run_on_scheduler(count))


def wait_for(client: Client, workers: int) -> None:
    """Wait until the scheduler has that many workers, looking every 5 ms."""
    until(lambda: registered(client) >= workers, LIMIT_S, 0.005)


class Door(ABC):
    """One way to get a cluster of two one-thread workers."""

    client: Client

    @abstractmethod
    def create(self) -> None:
        """Ask for the cluster and connect ``client``."""

    @abstractmethod
    def scale(self, workers: int) -> None:
        """Ask for that many workers."""

    @abstractmethod
    def close(self) -> None:
        """End the cluster and wait until it is gone."""


class Local(Door):
    """Dask's own ``LocalCluster`` in this process, which has imported everything before."""

    def __init__(self, *, tls: bool = False) -> None:
        self._tls = tls

    def create(self) -> None:
        from distributed import Client, LocalCluster

        self._cluster = LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, memory_limit=WORKER_MEMORY.replace(" ", ""),
            dashboard_address="127.0.0.1:0", protocol="tls://" if self._tls else "tcp://",
            security=True if self._tls else None,
        )  # fmt: skip
        self.client = Client(self._cluster)

    def scale(self, workers: int) -> None:
        self._cluster.scale(workers)

    def close(self) -> None:
        self.client.close()
        self._cluster.close()


class Offload(Door):
    """Ours by REST: through the keeper's socket, or through a Jupyter server when one is given.

    What Lab does after a click: POST, then the change feed until a client can connect, then the connection.
    """

    def __init__(
        self, place: Workspace, server: JupyterServer | None = None, *, workers: int = WORKERS, site: str = "local"
    ) -> None:
        self._place, self._server, self._workers, self._site = place, server, workers, site
        self._id = ""
        self._direct: httpx.Client | None = None

    @property
    def id(self) -> str:
        """The cluster's, once it was asked for."""
        return self._id

    def http(self) -> httpx.Client:
        """Return an open connection to this door."""
        if self._server is not None:
            return self._server.http
        if self._direct is None:
            from jupyter_offload.api.start import ensure_keeper

            with environment(self._place.environment):
                socket = ensure_keeper()
            self._direct = httpx.Client(
                transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://keeper", timeout=LIMIT_S
            )
        return self._direct

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send one request and return the answer.

        Raises:
            RuntimeError: the door refused; the message is its own.
        """
        prefix = "/offload/v1" if self._server is not None else ""
        answer = self.http().request(method, prefix + path, **arguments)
        if answer.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def request(self) -> dict[str, Any]:
        """POST the cluster, under a new name, and return its record, which is the card."""
        memory = int(float(WORKER_MEMORY.split()[0]) * 2**30)
        spec = {
            "name": f"bench-{uuid.uuid4().hex[:8]}",
            "site": self._site,
            "workers": self._workers,
            "cores": 1,
            "memory_bytes": memory,
            "environment": sys.executable,
        }
        record: dict[str, Any] = self.ask("POST", "/clusters", json={"spec": spec}).json()
        self._id = str(record["id"])
        return record

    def wait_connectable(self, record: dict[str, Any]) -> None:
        """Follow the change feed until a client can connect.

        Raises:
            RuntimeError: the cluster failed; the message is its reason.
        """
        since = record["revision"]
        while not record["connectable"]:
            if record["phase"] in ("failed", "stopped"):
                raise RuntimeError(f"{record['phase']}: {record['reason']['message']}")
            since = self.ask("GET", "/changes", params={"since": since, "timeout_s": 10}).json()["revision"]
            record = self.ask("GET", f"/clusters/{self._id}").json()

    def connection(self) -> dict[str, Any]:
        """Return how a client connects."""
        answer: dict[str, Any] = self.ask("GET", f"/clusters/{self._id}/connection").json()
        return answer

    def create(self) -> None:
        from distributed import Client
        from distributed.security import Security

        self.wait_connectable(self.request())
        connection = self.connection()
        tls = connection["tls"]
        self.client = Client(
            connection["scheduler_address"],
            security=Security(
                tls_ca_file=tls["ca_file"], tls_client_cert=tls["cert_file"], tls_client_key=tls["key_file"],
                require_encryption=True,
            ),
        )  # fmt: skip

    def scale(self, workers: int) -> None:
        self.ask("PATCH", f"/clusters/{self._id}", json={"workers": workers})

    def delete(self) -> None:
        """Ask for the end of the cluster and wait for it; then forget the record."""
        if self.ask("DELETE", f"/clusters/{self._id}").status_code == 204:
            return  # it had ended by itself, so this forgot it
        finished = ("stopped", "failed")
        until(lambda: self.ask("GET", f"/clusters/{self._id}").json()["phase"] in finished, LIMIT_S, 0.01)
        self.ask("DELETE", f"/clusters/{self._id}")

    def close(self) -> None:
        self.client.close()
        self.delete()


class Labextension(Door):
    """dask-labextension in a Jupyter server of its own, by the request its button sends."""

    def __init__(self, server: JupyterServer) -> None:
        self._server = server

    def create(self) -> None:
        from distributed import Client

        answer = self._server.http.put("/dask/clusters/", json={}, timeout=LIMIT_S)
        answer.raise_for_status()
        self._id = answer.json()["id"]
        self.client = Client(answer.json()["scheduler_address"])

    def scale(self, workers: int) -> None:
        self._server.http.patch(
            f"/dask/clusters/{self._id}", json={"workers": workers}, timeout=LIMIT_S
        ).raise_for_status()

    def close(self) -> None:
        self.client.close()
        self._server.http.delete(f"/dask/clusters/{self._id}", timeout=LIMIT_S).raise_for_status()
