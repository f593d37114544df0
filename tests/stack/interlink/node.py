"""A virtual node: interLink's virtual kubelet, its API server with mutual TLS between the two, and the site's plugin, each a process."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from ..certificates import Authority
from ..kubernetes.client import Cluster
from ..kubernetes.control_plane import PARTS as CONTROL_PLANE
from ..processes import DidNotStart, Processes
from . import jobs
from .accounts import make_kubelet, make_user
from .images import Image
from .job import end_all
from .plugin import SOCKET
from .programs import MODULE
from .runner import may_mount
from .site import Site

#: In the order in which they end. Each can be killed, started, suspended and resumed by itself.
PARTS = ("virtual-kubelet", "interlink", "plugin")
#: The virtual kubelet pings the first time after 30 s, and its node is ready only then.
READY_TIMEOUT_S = 120
_STOP_S = 5
#: How often a virtual kubelet is started, and how long it may take to look at its pods; it takes a second.
_STARTS, _BEGIN_S = 3, 15
_ROOT = Path(__file__).parents[3]
_CORES, _MEMORY_MIB = 64, 64 * 1024


class VirtualNode(Site):
    """One virtual node and the site behind it.

    Args:
        cluster: the control plane, with controller manager and scheduler.
        name: of the node.
        folder: of its state, private; made.
        images: of the site, by name; the first is the one that ``site_file`` begins with.
        accelerators: how many there are of each resource.
        models: what people call each.
        netns: network namespace of the site's jobs; needs root.
        strict: whether pods that break the contract of interLink's plugins are written down (``violations``).
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        folder: Path,
        images: Mapping[str, Image],
        *,
        accelerators: Mapping[str, int] | None = None,
        models: Mapping[str, str] | None = None,
        netns: str | None = None,
        strict: bool = True,
    ) -> None:
        super().__init__(folder)
        self.cluster = cluster
        self.name = name
        self._accelerators = dict(accelerators or {})
        self._models = dict(models or {})
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.add_images(**images)
        self._settings = jobs.SiteSettings(
            folder, self._accelerators, self._models, _CORES, _MEMORY_MIB, netns, may_mount(), strict
        )
        self._processes = Processes(folder)
        self._ports: dict[str, int] = {}

    @property
    def plugin(self) -> Site:
        """The site alone."""
        return self

    @property
    def namespace(self) -> str:
        """Where its user's pods are."""
        return self.cluster.namespace

    @cached_property
    def kubeconfig(self) -> Path:
        """That of a user who may run pods in ``namespace`` and read nodes."""
        return make_user(self.cluster, f"user-of-{self.name}", self.namespace)

    # ------------------------------------------------------------ life
    def up(self) -> None:
        """Start everything; the node is ready half a minute later (``until_ready``)."""
        self._ports = {part: _free_port() for part in ("virtual-kubelet", "interlink")}
        self._write_files()
        for part in reversed(PARTS):
            self.start(part)
        self.cluster.until(self._is_known, READY_TIMEOUT_S)
        self._add_resources()

    def down(self, *, keep_logs: bool = False) -> None:
        """End everything, the site's jobs too, and remove the node."""
        stop(self.folder)
        with contextlib.suppress(httpx.TransportError):  # a control plane that is gone knows no node either
            self.cluster.admin.delete(f"/api/v1/nodes/{self.name}")
        if not keep_logs:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, part: str) -> None:
        """Start a part that does not run, and wait until it listens; also one of the control plane."""
        if part in CONTROL_PLANE:
            self.cluster.start(part)
            return
        if part == "plugin":
            settings = str(self.folder / "plugin.json")
            (self.folder / SOCKET).unlink(missing_ok=True)
            start = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from tests.stack.interlink import plugin; plugin.main()"
            self._processes.start(part, [sys.executable, "-c", start, settings])
            self._processes.wait_until(part, (self.folder / SOCKET).exists, READY_TIMEOUT_S)
            return
        config = {"interlink": "INTERLINKCONFIGPATH", "virtual-kubelet": "CONFIGPATH"}[part]
        variables = {config: str(self.folder / f"{part}.yaml"), "HOME": str(self.folder)}
        if part == "virtual-kubelet":
            variables |= {
                "NODENAME": self.name, "KUBECONFIG": str(self.folder / "kubeconfig"), "KUBELET_URL": "127.0.0.1",
                "KUBELET_PORT": str(self._ports[part]), "POD_IP": "127.0.0.1",
            }  # fmt: skip
        words = ["env", "-i", *(f"{k}={v}" for k, v in variables.items()), str(MODULE.program(part))]
        for _ in range(_STARTS if part == "virtual-kubelet" else 1):
            log = self.folder / f"{part}.log"
            known = log.stat().st_size if log.exists() else 0
            self._processes.start(part, words)
            self._processes.wait_until(part, lambda: _listens(self._ports[part]), READY_TIMEOUT_S)
            if part != "virtual-kubelet" or self._looks_at_pods(log, known):
                return
            self.kill(part)
        raise DidNotStart(f"The virtual kubelet looked at no pod after {_STARTS} starts: {self.folder}")

    @staticmethod
    def _looks_at_pods(log: Path, known: int) -> bool:
        """Whether this start has begun with pods: now and then one of this interLink never does, though its node is ready."""
        deadline = time.monotonic() + _BEGIN_S
        while time.monotonic() < deadline:
            with log.open("rb") as file:
                file.seek(known)
                if b"msg=statusLoop\n" in file.read():
                    return True
            time.sleep(0.1)
        return False

    def kill(self, part: str) -> None:
        """End a part by SIGKILL, at once; also one of the control plane."""
        process = self.process(part)
        process.kill()
        process.wait(_STOP_S)

    def process(self, part: str) -> psutil.Process:
        """Return the process of a part that runs; also one of the control plane."""
        if part in CONTROL_PLANE:
            return self.cluster.process(part)
        found = self._processes.find(part)
        assert found is not None, f"{part} does not run"
        return found

    @contextlib.contextmanager
    def suspended(self, part: str) -> Iterator[None]:
        """Meanwhile a part takes connections and answers nothing."""
        process = self.process(part)
        process.suspend()
        try:
            yield
        finally:
            process.resume()

    def _write_files(self) -> None:
        authority = Authority("test-stack-interlink")
        for name, content in {
            "ca.pem": authority.pem,
            "server.pem": authority.server("interlink", ["localhost"], ["127.0.0.1"]),
            "client.pem": authority.client("virtual-kubelet"),
            "kubeconfig": make_kubelet(self.cluster),
        }.items():
            path = self.folder / name
            path.touch(mode=0o600)
            path.write_bytes(content)
        settings = asdict(self._settings) | {"folder": str(self.folder)}
        (self.folder / "plugin.json").write_text(json.dumps(settings))

        def tls(name: str) -> dict[str, Any]:
            file = str(self.folder / f"{name}.pem")
            return {"Enabled": True, "CertFile": file, "KeyFile": file, "CACertFile": str(self.folder / "ca.pem")}

        port = str(self._ports["interlink"])
        quiet = {"VerboseLogging": False, "ErrorsOnlyLogging": False}
        api = {
            "InterlinkAddress": "https://127.0.0.1", "InterlinkPort": port, "SidecarURL": f"unix://{self.folder / SOCKET}",
            "SidecarPort": "0", "DataRootFolder": str(self.folder / "interlink-data"), "TLS": tls("server"), **quiet,
        }  # fmt: skip
        kubelet = {
            "InterlinkURL": "https://127.0.0.1", "InterlinkPort": port, "ServiceAccount": "virtual-kubelet",
            "Namespace": "kube-system", "VKTokenFile": "", "DisableProjectedVolumes": True,
            "SkipDownwardAPIResolution": True, "HTTP": {"Insecure": True}, "KubeletHTTP": {"Insecure": True},
            "TLS": tls("client"), "NodeLabels": [f"site={self.name}"],
            "NodeTaints": [{"Key": "site", "Value": self.name, "Effect": "NoSchedule"}],
            "Resources": {"CPU": str(_CORES), "Memory": f"{_MEMORY_MIB}Mi", "Pods": "100", "Accelerators": [
                {"ResourceType": r, "Model": self._models.get(r, ""), "Available": n}
                for r, n in self._accelerators.items() if "mig-" not in r
            ]}, **quiet,
        }  # fmt: skip
        (self.folder / "interlink.yaml").write_text(yaml.safe_dump(api))
        (self.folder / "virtual-kubelet.yaml").write_text(yaml.safe_dump(kubelet))

    def _add_resources(self) -> None:
        """Add GPU slices, which this interLink drops, as an administrator must: they stay over pings and restarts."""
        slices = {r: str(n) for r, n in self._accelerators.items() if "mig-" in r}
        if slices:
            answer = self.cluster.admin.patch(
                f"/api/v1/nodes/{self.name}/status", json={"status": {"capacity": slices, "allocatable": slices}},
                headers={"Content-Type": "application/strategic-merge-patch+json"},
            )  # fmt: skip
            answer.raise_for_status()

    # ------------------------------------------------------------ what is seen
    def _is_known(self) -> bool:
        return self.cluster.admin.get(f"/api/v1/nodes/{self.name}").status_code == 200

    def object(self) -> dict[str, Any]:
        """Return the Node object."""
        found: dict[str, Any] = self.cluster.admin.get(f"/api/v1/nodes/{self.name}").json()
        return found

    def condition(self, kind: str = "Ready") -> str:
        """Return ``True``, ``False`` or ``Unknown``."""
        conditions = self.object()["status"].get("conditions") or []
        return next((str(c["status"]) for c in conditions if c["type"] == kind), "Unknown")

    def until_ready(self) -> None:
        """Wait until the site takes pods."""
        self.cluster.until(lambda: self.condition() == "True", READY_TIMEOUT_S)

    def secrets(self, namespace: str | None = None) -> list[dict[str, Any]]:
        """Return the Secrets of a namespace, by default the one of its user's pods."""
        answer = self.cluster.admin.get(f"/api/v1/namespaces/{namespace or self.namespace}/secrets")
        return list(answer.json()["items"])

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """Return the pods on this node, of all namespaces."""
        selector = ",".join(f"{k}={v}" for k, v in labels.items())
        answer = self.cluster.admin.get(
            "/api/v1/pods", params={"labelSelector": selector, "fieldSelector": f"spec.nodeName={self.name}"}
        )
        return list(answer.json()["items"])

    def site_file(self, **options: Any) -> dict[str, Any]:
        """Return a site definition of ours for this node, with all of its images; without ``kubeconfig`` it is for its user."""
        if "kubeconfig" not in options:
            options["kubeconfig"] = str(self.kubeconfig)
        return {
            "title": self.name.capitalize(),
            "backend": "kubernetes",
            "profiles": [
                {"name": "small", "cores": 1, "memory_bytes": "1 GiB", "maximum_workers": 16},
                {"name": "gpu", "cores": 1, "memory_bytes": "1 GiB", "maximum_workers": 8,
                 "accelerators": [{"resource": "nvidia.com/gpu", "model": self._models.get("nvidia.com/gpu")}]},
            ],
            "images": [{"name": name, "image": name} for name in self.images],
            "options": {"node": self.name, **options},
        }  # fmt: skip


def stop(folder: Path) -> None:
    """End the processes of a virtual node's folder, with the site's jobs."""
    Processes(folder).stop(list(PARTS), _STOP_S)
    end_all(folder / jobs.JOBS)


def until(what: Any, timeout_s: float = 60, wrong: str = "") -> Any:
    """Look until something is true; return it."""
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"it did not happen in {timeout_s:.0f} s {wrong}"
        time.sleep(0.1)
    return found


def _free_port() -> int:
    """Return a port that was free a moment ago: interLink cannot be given a socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False
