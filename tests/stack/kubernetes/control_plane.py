"""Start and end etcd, the API server, and what acts on its objects, in a folder."""

from __future__ import annotations

import base64
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa

from ..certificates import Authority, pem_of_key, pem_of_public_key
from ..processes import Processes
from .access import connect
from .programs import MODULE, build

#: Made by ``up``, for whoever needs one namespace and does not care which.
NAMESPACE = "jupyter"
#: Issuer of service account tokens, and their audience where a request names none.
ISSUER = "https://kubernetes.default.svc"
START_TIMEOUT_S = 120
#: Short, since nothing of theirs is kept; the API server waits long for an etcd that is gone.
STOP_TIMEOUT_S = 5
#: In the order in which they end.
_CONTROLLERS = ["kube-controller-manager", "kube-scheduler"]
_API = ["kube-apiserver", "etcd"]
#: Each can be killed and started by itself.
PARTS = [*_CONTROLLERS, *_API]


def up(folder: Path, *, controllers: bool = False) -> dict[str, Any]:
    """Start what does not run, and say how to reach it; what half runs is started anew.

    Args:
        folder: where it lives; made if it is not there.
        controllers: also what runs pods' and namespaces' lives: controller manager and scheduler.

    Raises:
        CannotBuild: the programs are not built, and building them failed.
        DidNotStart: a process ended or was not ready in time; everything is ended then, and the logs are kept.
    """
    build()
    wanted = PARTS if controllers else _API
    if (found := _running(folder, wanted)) is not None:
        return found
    down(folder)
    folder.mkdir(mode=0o700, parents=True)
    processes = Processes(folder)
    try:
        with _reserved_port() as reserved:
            port = reserved.getsockname()[1]
            _write_keys(folder, port)
            _start_etcd(processes)
            _start_api_server(processes, port)
        _make_namespace(folder)
        if controllers:
            for name in _CONTROLLERS:
                _start_controller(processes, name)
            # Without its account a namespace takes no pod.
            processes.wait_until(_CONTROLLERS[0], lambda: _has_default_account(folder), START_TIMEOUT_S)
    except BaseException:
        processes.stop(PARTS, STOP_TIMEOUT_S)
        raise
    answer = {
        "part": "kubernetes",
        "kubeconfig": str(folder / "admin.kubeconfig"),
        "url": f"https://127.0.0.1:{port}",
        "ca_file": str(folder / "ca.pem"),
        "namespace": NAMESPACE,
        "env": {"KUBECONFIG": str(folder / "admin.kubeconfig")},
    }
    (folder / "stack.json").write_text(json.dumps(answer))
    return answer


def down(folder: Path, *, keep_logs: bool = False) -> None:
    """End the processes and remove the folder, except for its logs if they are wanted. Nothing there is no error."""
    Processes(folder).stop(PARTS, STOP_TIMEOUT_S)
    if not keep_logs:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix != ".log":
            path.unlink()


def start(folder: Path, name: str) -> None:
    """Start one of ``PARTS`` that was killed, as ``up`` did, and wait until it answers.

    Raises:
        DidNotStart: it ended or was not ready in time.
    """
    processes = Processes(folder)
    if name == "etcd":
        _start_etcd(processes)
    elif name == "kube-apiserver":
        _start_api_server(processes, int(json.loads((folder / "stack.json").read_text())["url"].rpartition(":")[2]))
    else:
        _start_controller(processes, name)


def runs(folder: Path, parts: list[str] = PARTS) -> bool:
    """Tell whether these parts run, and the API server answers."""
    processes = Processes(folder)
    return all(processes.find(name) for name in parts) and _is_ready(folder)


def _running(folder: Path, wanted: list[str]) -> dict[str, Any] | None:
    """Return what ``up`` answered, if all of it still runs and answers."""
    try:
        answer: dict[str, Any] = json.loads((folder / "stack.json").read_text())
    except (OSError, ValueError):
        return None
    return answer if runs(folder, wanted) else None


def _reserved_port() -> socket.socket:
    """Return a socket with a port of the OS that nobody else gets, but the API server may share."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def _write_keys(folder: Path, port: int) -> None:
    """Write the certificates, the keys of service accounts' tokens, and the administrator's kubeconfig."""
    authority = Authority("test-stack-kubernetes")
    accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    admin = authority.client("admin", organization="system:masters")
    url = f"https://127.0.0.1:{port}"
    contents = {
        "ca.pem": authority.pem,
        "apiserver.pem": authority.server("kube-apiserver", names, ["127.0.0.1"]),
        "accounts.key": pem_of_key(accounts),
        "accounts.pub": pem_of_public_key(accounts),
        "admin.pem": admin,
        "admin.kubeconfig": kubeconfig(url, authority.pem, certificate=admin),
    }
    for name in _CONTROLLERS:
        certificate = authority.client(f"system:{name}")
        contents[f"{name}.kubeconfig"] = kubeconfig(url, authority.pem, certificate=certificate)
    for name, content in contents.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)


def kubeconfig(
    url: str,
    authority: bytes,
    *,
    certificate: bytes | None = None,
    token: str | None = None,
    namespace: str = NAMESPACE,
) -> bytes:
    """Return a kubeconfig for whoever has this certificate (with its key) or this token."""
    user = {"token": token} if certificate is None else {
        "client-certificate-data": _base64(certificate), "client-key-data": _base64(certificate),
    }  # fmt: skip
    cluster = {"server": url, "certificate-authority-data": _base64(authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "stack",
        "clusters": [{"name": "stack", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "stack", "context": {"cluster": "stack", "user": "user", "namespace": namespace}}],
    }
    return json.dumps(config, indent=1).encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _start_etcd(processes: Processes) -> None:
    """On sockets in the folder, which is private: etcd itself asks nobody who they are."""
    options = {
        "data-dir": "etcd",
        "listen-client-urls": "unix://client:2379",
        "advertise-client-urls": "unix://client:2379",
        "listen-peer-urls": "unix://peer:2380",
        "initial-advertise-peer-urls": "unix://peer:2380",
        "initial-cluster": "default=unix://peer:2380",
        "log-level": "warn",
        "unsafe-no-fsync": "true",  # the data need not survive the machine
    }
    (processes.folder / "client:2379").unlink(missing_ok=True)  # of one that was killed
    processes.start("etcd", [str(MODULE.program("etcd")), *_words(options)])
    processes.wait_until("etcd", (processes.folder / "client:2379").exists, START_TIMEOUT_S)


def _start_api_server(processes: Processes, port: int) -> None:
    options = {
        "etcd-servers": "unix://client:2379",
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": str(port),
        "permit-port-sharing": "true",
        "endpoint-reconciler-type": "none",
        "service-cluster-ip-range": "10.96.0.0/16",
        "authorization-mode": "Node,RBAC",
        "client-ca-file": "ca.pem",
        "tls-cert-file": "apiserver.pem",
        "tls-private-key-file": "apiserver.pem",
        "service-account-issuer": ISSUER,
        "service-account-key-file": "accounts.pub",
        "service-account-signing-key-file": "accounts.key",
        "profiling": "false",
    }
    processes.start("kube-apiserver", [str(MODULE.program("kube-apiserver")), *_words(options)])
    processes.wait_until("kube-apiserver", lambda: _is_ready(processes.folder), START_TIMEOUT_S)


def _start_controller(processes: Processes, name: str) -> None:
    config = f"{name}.kubeconfig"
    # Neither serves anybody here.
    options = {"kubeconfig": config, "authentication-kubeconfig": config, "authorization-kubeconfig": config,
               "leader-elect": "false", "secure-port": "0", "profiling": "false"}  # fmt: skip
    if name == "kube-controller-manager":
        options |= {
            "root-ca-file": "ca.pem",
            "service-account-private-key-file": "accounts.key",
            "use-service-account-credentials": "true",
            # Sooner than in earnest, where quotas are not waited for.
            "resource-quota-sync-period": "5s",
            "controllers": "*,-bootstrap-signer-controller,-token-cleaner-controller",
        }
    processes.start(name, [str(MODULE.program(name)), *_words(options)])


def _has_default_account(folder: Path) -> bool:
    with connect(folder) as admin:
        return admin.get(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default").status_code == 200


def _words(options: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def _is_ready(folder: Path) -> bool:
    try:
        with connect(folder) as admin:
            return admin.get("/readyz").status_code == 200
    except (OSError, httpx.TransportError):
        return False


def _make_namespace(folder: Path) -> None:
    with connect(folder) as admin:
        admin.post("/api/v1/namespaces", json={"metadata": {"name": NAMESPACE}}).raise_for_status()
