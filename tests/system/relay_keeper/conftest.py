"""A keeper that knows a site whose workers can only dial out, and a facility that runs a relay for it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from jupyter_offload.api import locations
from jupyter_offload.api.models import SiteList
from jupyter_offload.keeper.store.records import ProcessName
from jupyter_offload.relay.certificates import make_relay_certificate
from jupyter_offload.relay.client import RelayClient

from ..keeper.conftest import Desk, _desk, until

HERE = Path(__file__).parent
LOOPBACK = "embedded: {host: 127.0.0.1, bind: 127.0.0.1}\n"
SITE = """
title: Far away
backend: far
profiles: [{{name: one, cores: 1, memory_bytes: 1 GiB, maximum_workers: 4}}]
options:
  python: {python}
  folder: {folder}
  arguments: {arguments}
"""


@pytest.fixture
def far(bare_python: Path, tmp_path: Path) -> Iterator[Callable[..., contextlib.AbstractContextManager[Desk]]]:
    """Returns what makes a keeper that knows the site ``far``; its workers' Python has Dask and nothing of ours."""
    plugin = tmp_path / "plugin"
    info = plugin / "far-1.dist-info"
    info.mkdir(parents=True)
    shutil.copy(HERE / "far_backend.py", plugin)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[jupyter_offload.backends]\nfar = far_backend:FarBackend\n")

    @contextlib.contextmanager
    def make(relay: str = LOOPBACK, arguments: tuple[str, ...] = ("--no-nanny",)) -> Iterator[Desk]:
        with _desk(PYTHONPATH=str(plugin)) as desk:
            offload = desk.home / "conf" / "offload"
            (offload / "sites").mkdir(parents=True)
            if relay:
                (offload / "relay.yaml").write_text(relay)
            folder = tmp_path / "far workers"
            text = SITE.format(
                python=json.dumps(str(bare_python)), folder=json.dumps(str(folder)), arguments=list(arguments)
            )
            (offload / "sites" / "far.yaml").write_text(text)
            sites = desk.client.call("listSites", SiteList).sites
            assert [s.name for s in sites] == ["local", "far"]
            assert sites[1].health.state.value == "healthy", sites[1].health
            try:
                yield desk
            except BaseException:
                for log in [
                    *folder.rglob("log"),
                    *(desk.home / "data").rglob("relay.log"),
                    *(desk.home / "data").rglob("scheduler.log"),
                ]:
                    print(f"--- {log}\n{log.read_text()}")
                raise

    yield make


def relay_process() -> ProcessName | None:
    path = locations.runtime_folder() / "relay.json"
    try:
        return ProcessName.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None


def no_relay() -> bool:
    return relay_process() is None and not (locations.runtime_folder() / "relay.sock").exists()


class Facility:
    """A relay that somebody else runs on this host; users are admitted through its unix socket."""

    def __init__(self, folder: Path, *identities: dict[str, str]) -> None:
        self.ca_file, certificate = make_relay_certificate(folder, "relay.test")
        self._short = Path(tempfile.mkdtemp(dir="/tmp", prefix="rel"))
        self.socket = self._short / "s"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._log = folder / "relay.log"
        self._file = folder / "relay.yaml"
        document = {
            "domain": "relay.test", "certificate_file": str(certificate), "state_dir": str(folder / "state"),
            "listen": {"host": "127.0.0.1", "port": self.port}, "unix_socket": {"path": str(self.socket)},
            "identities": [{"type": "unix"}, *identities], "drain_s": 1,
        }  # fmt: skip
        self._file.write_text(yaml.safe_dump(document))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def configuration(self) -> str:
        """What relay.yaml of its users says."""
        return yaml.safe_dump(
            {"addresses": [f"127.0.0.1:{self.port}"], "domain": "relay.test", "ca_file": str(self.ca_file),
             "admission": str(self.socket)}
        )  # fmt: skip

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "jupyter_offload.relay.hub", str(self._file)]
            env = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}  # it is nobody's of this home
            self._process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: self.socket.exists() or self._ended(), wrong=self.log)

    def _ended(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def dispose(self) -> None:
        self.stop()
        shutil.rmtree(self._short)

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def admitted(self, cluster: str) -> bool:
        """Whether it knows a cluster now."""
        async with RelayClient(str(self.socket), "relay.test") as client:
            return await client.describe(cluster) is not None


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    made = Facility(tmp_path / "facility")
    yield made
    made.dispose()
