"""One cluster's process tree as the keeper would run it: folders, certificates, launch.json, control socket."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jupyter_offload.scheduler
from jupyter_offload.scheduler.process import is_alive, process_start

ENTRY = Path(jupyter_offload.scheduler.__file__).parent / "__main__.py"
TIMEOUT_S = 60.0


def until(what: Callable[[], Any], timeout_s: float = TIMEOUT_S, step_s: float = 0.01) -> Any:
    """Return the first true result; fail after a generous time."""
    end = time.monotonic() + timeout_s
    while not (result := what()):
        if time.monotonic() > end:
            raise AssertionError(f"did not come true in {timeout_s:g} s")
        time.sleep(step_s)
    return result


def make_certificates(folder: Path) -> dict[str, str]:
    """Write a CA and one PEM file (certificate and key) for each role; return the ``tls`` part of launch.json."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        return builder.public_bytes(serialization.Encoding.PEM)

    (folder / "ca.pem").write_bytes(certificate("test-ca", ca_key, is_ca=True))
    files = {"ca_file": str(folder / "ca.pem")}
    for role in ("scheduler", "worker", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        raw = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = folder / f"{role}.pem"
        path.touch(0o600)
        path.write_bytes(certificate(role, key, is_ca=False) + raw)
        files[f"{role}_file"] = str(path)
    return files


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment of a cluster: built, not inherited."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **more}


class Control:
    """A blocking control connection."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT_S)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rwb")
        self._number = 0

    def raw(self, line: bytes) -> dict[str, Any]:
        self._file.write(line + b"\n")
        self._file.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        line = self._file.readline()
        assert line, "the control connection was closed"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def send(self, op: str, **arguments: Any) -> int:
        self._number += 1
        self._file.write(json.dumps({"id": self._number, "op": op, **arguments}).encode() + b"\n")
        self._file.flush()
        return self._number

    def call(self, op: str, **arguments: Any) -> dict[str, Any]:
        number = self.send(op, **arguments)
        answer = self.read()
        assert answer["id"] == number
        return answer

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class TreeOfOne:
    """One cluster and everything of it on disk."""

    def __init__(self, root: Path, *, workers: int = 2, **changes: Any) -> None:
        self.folder = root
        self.runtime = Path(tempfile.mkdtemp(prefix="jo", dir="/tmp"))
        self.logs = root / "logs"
        self.spill = root / "spill"
        for made in (self.logs, self.spill):
            made.mkdir(mode=0o700)
        self.tls = make_certificates(root)
        worker = {"cores": 1, "memory_bytes": 1 << 30, "env": {}, "modules": [], "malloc_trim_bytes": 16 << 20,
                  "malloc_mmap_bytes": 16 << 20, "death_timeout_s": 60}  # fmt: skip
        worker.update(changes.pop("worker", {}))
        self.launch: dict[str, Any] = {
            "protocol": 1,
            "cluster": {"id": "test-cluster", "name": "test", "owner": "tester"},
            "folder": str(root), "runtime": str(self.runtime), "spill": str(self.spill), "logs": str(self.logs),
            "tls": self.tls, "host": "127.0.0.1", "workers": workers, "worker": worker,
            "scheduler": {"modules": [], "dashboard": True, **changes.pop("scheduler", {})},
            "relay": changes.pop("relay", None),
        }  # fmt: skip
        assert not changes
        self.launch_file = root / "launch.json"
        self.supervisor: tuple[int, str] | None = None
        self._cold: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None

    # ------------------------------------------------------------ life
    def start_warm(self, zygote: Zygote, env: dict[str, str] | None = None, cwd: str | None = None) -> TreeOfOne:
        self.launch_file.write_text(json.dumps(self.launch))
        answer = zygote.call(op="launch", launch=str(self.launch_file), env=env or clean_environment(), cwd=cwd)
        assert answer["ok"], answer
        self.supervisor = (answer["pid"], answer["start"])
        return self

    def start_cold(self, python: str = sys.executable, env: dict[str, str] | None = None) -> TreeOfOne:
        self.launch_file.write_text(json.dumps(self.launch))
        command = [python, str(ENTRY), "supervise", str(self.launch_file)]
        errors = (self.folder / "cold.err").open("wb")
        self._cold = subprocess.Popen(
            command, env=env or clean_environment(), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
        )
        self.supervisor = (self._cold.pid, process_start(self._cold.pid) or "gone")
        return self

    def ready(self) -> dict[str, Any]:
        path = self.runtime / "ready.json"
        until(lambda: path.exists() or (self.runtime / "exit.json").exists())
        assert path.exists(), self.everything_logged()
        document: dict[str, Any] = json.loads(path.read_text())
        return document

    def connected(self, workers: int = 2) -> dict[str, Any]:
        """Return the status once that many workers are connected."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            arrived = [w for w in status["workers"] if w["state"] == "connected"]
            return status if len(arrived) == workers else None

        self.ready()
        result: dict[str, Any] = until(look)
        return result

    def exit(self) -> dict[str, Any]:
        """Return exit.json once the supervisor is gone too."""
        assert self.supervisor is not None
        supervisor = self.supervisor
        path = self.runtime / "exit.json"
        until(lambda: path.exists() and not is_alive(*supervisor))
        document: dict[str, Any] = json.loads(path.read_text())
        return document

    def stop(self) -> dict[str, Any]:
        assert self.control.call("stop", grace_s=5)["ok"]
        return self.exit()

    def dispose(self) -> None:
        """End whatever is left, by process id."""
        if self._control is not None:
            self._control.close()
        if self.supervisor is not None and is_alive(*self.supervisor):
            pids = [*self.members(), self.supervisor[0]]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self._cold is not None:
            self._cold.wait(TIMEOUT_S)
        shutil.rmtree(self.runtime, ignore_errors=True)

    # ------------------------------------------------------------ looking
    @property
    def control(self) -> Control:
        if self._control is None:
            self.ready()
            self._control = Control(self.runtime / "control.sock")
        return self._control

    def status(self, events_since: int = 0) -> dict[str, Any]:
        answer = self.control.call("status", events_since=events_since)
        assert answer["ok"], answer
        return answer

    def events(self, code: str) -> list[dict[str, Any]]:
        return [event for event in self.status()["events"] if event["code"] == code]

    def worker(self, name: str) -> dict[str, Any] | None:
        return next((w for w in self.status()["workers"] if w["name"] == name), None)

    def members(self) -> list[int]:
        """Return the living processes below the supervisor."""
        assert self.supervisor is not None
        return descendants(self.supervisor[0])

    def log(self, name: str) -> str:
        path = self.logs / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def everything_logged(self) -> str:
        texts = [f"--- {path.name}\n{path.read_text()}" for path in sorted(self.logs.glob("*.log"))]
        for name in ("exit.json", "../cold.err"):
            path = self.runtime / name if name == "exit.json" else self.folder / "cold.err"
            if path.exists():
                texts.append(f"--- {name}\n{path.read_text()}")
        return "\n".join(texts)

    def security(self) -> Any:
        from distributed.security import Security

        client = self.tls["client_file"]
        return Security(
            tls_ca_file=self.tls["ca_file"], tls_client_cert=client, tls_client_key=client, require_encryption=True
        )

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        from distributed import Client

        address = json.loads((self.folder / "connection.json").read_text())["scheduler_address"]
        with Client(address, security=self.security(), timeout=30) as client:
            yield client


class Zygote:
    """A zygote and a connection to it."""

    def __init__(self, python: str = sys.executable, env: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="joz", dir="/tmp"))
        self.socket = self.folder / "z"
        self.process = subprocess.Popen(
            [python, str(ENTRY), "zygote", str(self.socket)], env=env or clean_environment(), stdin=subprocess.DEVNULL
        )
        until(lambda: self.socket.exists() or self.process.poll() is not None)
        if self.process.poll() is not None:
            shutil.rmtree(self.folder)
            raise AssertionError(f"the zygote ended with {self.process.returncode}")
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(TIMEOUT_S)
        self._connection.connect(str(self.socket))
        self._file = self._connection.makefile("rwb")

    def call(self, **request: Any) -> dict[str, Any]:
        self._file.write(json.dumps(request).encode() + b"\n")
        self._file.flush()
        answer: dict[str, Any] = json.loads(self._file.readline())
        return answer

    def dispose(self) -> None:
        self._connection.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)
        shutil.rmtree(self.folder, ignore_errors=True)


def descendants(pid: int) -> list[int]:
    """Return the living processes below ``pid``; zombies are dead."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] not in ("Z", "X"):
                    parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def identities(pids: list[int]) -> list[tuple[int, str]]:
    """Return what names these processes for ever."""
    return [(pid, start) for pid in pids if (start := process_start(pid)) is not None]


def all_gone(processes: list[tuple[int, str]]) -> bool:
    return not any(is_alive(*process) for process in processes)


def talk_http(path: Path, request: str, timeout_s: float = 20.0) -> bytes:
    """Send one HTTP request to a unix socket and return everything that comes back."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
        connection.sendall(request.encode())
        received = b""
        while select.select([connection], [], [], timeout_s)[0]:
            piece = connection.recv(1 << 16)
            if not piece:
                break
            received += piece
        return received
