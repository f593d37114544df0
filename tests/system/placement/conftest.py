"""A user whose keeper is placed in a pod: a home of its own, an account with the rights of the chart, an ordinary node."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from jupyter_offload.api import locations
from jupyter_offload.api.client import KeeperClient
from jupyter_offload.api.models import Cluster, ClusterRequest, ClusterSpec, Connection, KeeperHealth
from jupyter_offload.api.problems import OffloadError
from jupyter_offload.doorway.pod import name_of
from tests.stack.fixtures import kubernetes as kubernetes
from tests.stack.kubernetes import client as stack
from tests.stack.ordinary_node import OrdinaryNode
from tests.stack.ordinary_node.fixtures import ordinary_node as ordinary_node

PATIENCE_S = 90
ACCOUNT = "placement-user"
#: As deploy/helm gives them to users.
RULES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "list", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "get", "list", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["events", "resourcequotas"], "verbs": ["list"]},
]
Json = dict[str, Any]


def until(what: Callable[[], Any], wrong: str = "it did not happen") -> Any:
    """Return the first true value of ``what``."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := what()):
        assert time.monotonic() < deadline, wrong
        time.sleep(0.1)
    return value


@pytest.fixture(scope="session")
def account(kubernetes: stack.Cluster) -> str:
    """A user's account in the stack's namespace."""
    kubernetes.make_account(ACCOUNT)
    kubernetes.allow(ACCOUNT, RULES)
    return ACCOUNT


@dataclass
class User:
    """Somebody on a server's host whose keeper is elsewhere."""

    folder: Path
    kubernetes: stack.Cluster
    node: OrdinaryNode

    def __post_init__(self) -> None:
        self.client = KeeperClient(timeout_s=60)

    # ---------------------------------------------------------------- settings
    @property
    def file(self) -> Path:
        return self.folder / "config" / "offload" / "placement.yaml"

    def place(self, **changes: Any) -> None:
        """Write the settings."""
        home = str(self.folder)
        settings = {
            "kubeconfig": str(self.folder / "kubeconfig"), "image": "example.org/lab:1", "python": "python",
            "cores": 1, "memory_bytes": "1 GiB", "idle_s": 600, "start_timeout_s": 60,
            "volumes": [{"name": "home", "hostPath": {"path": home}}],
            "mounts": [{"name": "home", "mountPath": home}],
            "environment": {"XDG_RUNTIME_DIR": f"{home}/p"},
        } | changes  # fmt: skip
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(yaml.safe_dump(settings))

    # ---------------------------------------------------------------- what there is
    @property
    def name(self) -> str:
        return name_of(locations.owner_id())

    def object(self, kind: str = "pods") -> Json | None:
        answer = self.kubernetes.admin.get(f"/api/v1/namespaces/{self.kubernetes.namespace}/{kind}/{self.name}")
        return answer.json() if answer.status_code == 200 else None

    def pod(self) -> Json:
        found = self.object()
        assert found is not None
        return found

    @property
    def doorway(self) -> psutil.Process:
        return psutil.Process(self.client.call("health", KeeperHealth).pid)

    def in_pod(self) -> list[psutil.Process]:
        """Return the processes in the keeper's pod."""
        address = self.pod()["status"]["podIP"]
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("JUPYTER_OFFLOAD_ADDRESS") == address:
                    found.append(process)
        return found

    # ---------------------------------------------------------------- clusters
    def new(self, name: str, **spec: Any) -> Cluster:
        body = ClusterRequest(spec=ClusterSpec(name=name, **{"workers": 1, **spec}))
        made = self.client.call("createCluster", Cluster, body=body)
        return self.when(made.id, lambda c: c.phase == "running" and c.workers.connected == c.workers.requested)

    def get(self, name: str) -> Cluster:
        return self.client.call("getCluster", Cluster, id=name)

    def when(self, name: str, is_so: Callable[[Cluster], bool]) -> Cluster:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so(found := self.get(name)):
            assert time.monotonic() < deadline, found.model_dump_json(indent=1)
            time.sleep(0.1)
        return found

    def connection(self, name: str) -> Connection:
        return self.client.call("clusterConnection", Connection, id=name)

    def dask(self, name: str) -> Any:
        """Return a Dask client, as a kernel of this host makes it."""
        from distributed import Client
        from distributed.security import Security

        found = self.connection(name)
        assert found.tls is not None
        security = Security(
            tls_ca_file=found.tls.ca_file, tls_client_cert=found.tls.cert_file, tls_client_key=found.tls.key_file,
            require_encryption=True,
        )  # fmt: skip
        return Client(found.scheduler_address, security=security)

    def log(self) -> str:
        return self.node.logs(self.kubernetes.namespace, self.name)

    def end(self) -> None:
        """End everything of this user."""
        with contextlib.suppress(OffloadError, psutil.Error):
            if locations.socket_path().exists():
                self.doorway.terminate()
        self.client.close()
        path = f"/api/v1/namespaces/{self.kubernetes.namespace}/pods/{self.name}"
        self.kubernetes.admin.request("DELETE", path, json={"gracePeriodSeconds": 1})
        until(lambda: self.object() is None and self.object("secrets") is None, "pod or Secret is left")
        # a pod's /tmp ends with it; here it is this machine's
        for data in (self.folder / "data", self.folder / "elsewhere"):
            for cluster in (data / "offload" / "clusters").glob("*"):
                spill = Path(tempfile.gettempdir()) / f"jupyter-offload-spill-{os.getuid()}-{cluster.name}"
                shutil.rmtree(spill, ignore_errors=True)


def write_kubeconfig(kubernetes: stack.Cluster, account: str, path: Path) -> None:
    config = json.loads((kubernetes.folder / "admin.kubeconfig").read_text())
    config["users"] = [{"name": "user", "user": {"token": kubernetes.token(account)}}]
    config["contexts"][0]["context"] |= {"user": "user"}
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))


@pytest.fixture
def user(home: Any, kubernetes: stack.Cluster, ordinary_node: OrdinaryNode, account: str) -> Iterator[User]:
    made = User(home.folder, kubernetes, ordinary_node)
    (home.folder / "p").mkdir(mode=0o700)
    write_kubeconfig(kubernetes, account, home.folder / "kubeconfig")
    made.place()
    try:
        yield made
    finally:
        for path in (locations.doorway_log_path(), locations.keeper_log_path()):
            if path.exists():
                print(path, path.read_text())
        print(made.log())
        made.end()
