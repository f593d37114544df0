"""What tests ask of the API server, as its administrator or with a token."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil

from ..processes import Processes
from . import control_plane
from .access import connect

__all__ = ["Cluster", "connect"]

_TIMEOUT_S = 30
_RBAC = "rbac.authorization.k8s.io"


@dataclass
class Cluster:
    """A running control plane; ``namespace`` is there from the beginning."""

    folder: Path
    url: str
    namespace: str

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @cached_property
    def admin(self) -> httpx.Client:
        """Whoever may do everything."""
        return connect(self.folder)

    def make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object, or have the API server answer a request that looks like one."""
        answer = self.admin.post(path, json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def make_namespace(self, name: str) -> None:
        """Make a namespace; where it may get pods, wait for the account without which it takes none."""
        self.make("/api/v1/namespaces", {"metadata": {"name": name}})
        if Processes(self.folder).find("kube-controller-manager"):
            account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
            self.until(lambda: self.admin.get(account).status_code == 200, _TIMEOUT_S)

    def make_quota(self, namespace: str, **hard: str) -> None:
        """Limit a namespace, for example ``pods="2"`` or ``**{"requests.cpu": "4"}``; wait until it counts."""
        path = f"/api/v1/namespaces/{namespace}/resourcequotas"
        self.make(path, {"metadata": {"name": "quota"}, "spec": {"hard": hard}})
        self.until(lambda: "used" in self.admin.get(f"{path}/quota").json().get("status", {}), _TIMEOUT_S)

    def make_account(self, name: str, namespace: str | None = None) -> None:
        """Make a service account, which may do nothing yet."""
        self.make(f"/api/v1/namespaces/{namespace or self.namespace}/serviceaccounts", {"metadata": {"name": name}})

    def allow(self, account: str, rules: list[dict[str, Any]]) -> None:
        """Give a service account rights in its namespace, by a role and a binding of its name."""
        path = f"/apis/{_RBAC}/v1/namespaces/{self.namespace}"
        self.make(f"{path}/roles", {"metadata": {"name": account}, "rules": rules})
        self.make(f"{path}/rolebindings", self._binding(account, "Role", account))

    def allow_everywhere(self, account: str, cluster_role: str) -> None:
        """Give a service account the rights of a cluster role, for example ``system:auth-delegator``."""
        self.make(f"/apis/{_RBAC}/v1/clusterrolebindings", self._binding(account, "ClusterRole", cluster_role))

    def _binding(self, account: str, kind: str, role: str) -> dict[str, Any]:
        return {
            "metadata": {"name": account},
            "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.namespace}],
        }

    def token(
        self, account: str, namespace: str | None = None, audiences: list[str] | None = None, lifetime_s: int = 3600
    ) -> str:
        """Return a new token of a service account; without audiences it is for the API server itself."""
        path = f"/api/v1/namespaces/{namespace or self.namespace}/serviceaccounts/{account}/token"
        answer = self.make(path, {"spec": {"audiences": audiences or [], "expirationSeconds": lifetime_s}})
        return str(answer["status"]["token"])

    def review(self, token: str, audiences: list[str]) -> dict[str, Any]:
        """Return the status of a TokenReview."""
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        answer = self.make(path, {"spec": {"token": token, "audiences": audiences}})
        return dict(answer["status"])

    def until(self, what: Callable[[], bool], timeout_s: float = 20) -> None:
        """Look until something holds that the API server learns a moment later, such as what a role allows."""
        deadline = time.monotonic() + timeout_s
        while not what():
            assert time.monotonic() < deadline, f"it did not happen in {timeout_s:.0f} s"
            time.sleep(0.05)

    # ------------------------------------------------------------ its processes
    def process(self, part: str) -> psutil.Process:
        """Return the process of a part that runs, such as ``kube-apiserver``."""
        found = Processes(self.folder).find(part)
        assert found is not None, f"{part} does not run"
        return found

    def kill(self, part: str) -> None:
        """End a part by SIGKILL, at once."""
        process = self.process(part)
        process.kill()
        process.wait(_TIMEOUT_S)

    def start(self, part: str) -> None:
        """Start a part that was killed, and wait until it answers."""
        control_plane.start(self.folder, part)

    @contextlib.contextmanager
    def silent(self, part: str = "kube-apiserver") -> Iterator[None]:
        """Meanwhile a part takes connections and answers nothing."""
        process = self.process(part)
        process.suspend()
        try:
            yield
        finally:
            process.resume()

    def close(self) -> None:
        self.admin.close()
