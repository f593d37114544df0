"""A real keeper with folders of its own, started as every door starts it; nothing of it may stay behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyter_offload.api import locations
from jupyter_offload.api.client import KeeperClient
from jupyter_offload.api.models import (
    Changes,
    Cluster,
    ClusterChange,
    ClusterRequest,
    ClusterSpec,
    Connection,
    KeeperHealth,
    Phase,
    Timeline,
)  # fmt: skip
from jupyter_offload.api.problems import NotFound, OffloadError
from jupyter_offload.keeper import folders

PATIENCE_S = 60


def until(what: Callable[[], Any], *, wrong: str = "it did not happen") -> Any:
    """Return the first true value of ``what``."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := what()):
        assert time.monotonic() < deadline, wrong
        time.sleep(0.02)
    return value


class Desk:
    """What a user at a terminal can do and see."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.client = KeeperClient()

    # ---------------------------------------------------------------- clusters
    def new(self, name: str, workers: int = 1, *, ready: bool = True, **spec: Any) -> Cluster:
        body = ClusterRequest(spec=ClusterSpec(name=name, workers=workers, **spec))
        cluster = self.client.call("createCluster", Cluster, body=body)
        return self.when(cluster.id, lambda c: c.workers.connected == c.workers.requested and c.phase == "running") if ready \
            else cluster  # fmt: skip

    def get(self, name: str) -> Cluster:
        return self.client.call("getCluster", Cluster, id=name)

    def when(self, name: str, is_so: Callable[[Cluster], bool]) -> Cluster:
        """Follow the change feed until the cluster is so."""
        deadline = time.monotonic() + PATIENCE_S
        revision = None
        while True:
            changes = self.client.call("changes", Changes, since=revision, timeout_s=1)
            cluster = self.get(name)
            if is_so(cluster):
                return cluster
            assert time.monotonic() < deadline, cluster.model_dump_json(indent=1)
            revision = changes.revision

    def phase(self, name: str, phase: str) -> Cluster:
        return self.when(name, lambda c: c.phase.value == phase)

    def change(self, name: str, **fields: Any) -> Cluster:
        return self.client.call("changeCluster", Cluster, body=ClusterChange(**fields), id=name)

    def stop(self, name: str) -> Cluster:
        self.client.call("deleteCluster", Cluster, id=name)
        return self.phase(name, "stopped")

    def codes(self, name: str) -> list[str]:
        return [e.code for e in self.client.call("clusterTimeline", Timeline, id=name).entries]

    def dask(self, name: str) -> Any:
        """Return a Dask client, as a notebook without our package makes it."""
        from distributed import Client
        from distributed.security import Security

        found = self.client.call("clusterConnection", Connection, id=name)
        security = Security(
            tls_ca_file=found.tls.ca_file, tls_client_cert=found.tls.cert_file, tls_client_key=found.tls.key_file,
            require_encryption=True,
        )  # fmt: skip
        return Client(found.scheduler_address, security=security)

    # ---------------------------------------------------------------- processes
    def ready(self, cluster: Cluster) -> dict[str, Any]:
        found = folders.read_json(Path(folders.places(cluster.id).runtime) / "ready.json")
        assert found is not None
        return found

    @property
    def keeper(self) -> psutil.Process:
        return psutil.Process(self.client.call("health", KeeperHealth).pid)

    def kill_keeper(self) -> int:
        """Kill the keeper as the system would; return its process id."""
        keeper = self.keeper
        keeper.kill()
        return keeper.pid

    def processes(self) -> list[psutil.Process]:
        """Return every process that was started under this home, whatever became of its parents."""
        mine = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                home = process.environ().get("JUPYTER_DATA_DIR")
                if home == str(self.home / "data") and process.pid != os.getpid():
                    mine.append(process)
        return mine

    def zygotes(self) -> list[psutil.Process]:
        """Return the zygotes, and not what they forked, which shows the same command line."""
        keeper = self.keeper.pid
        return [p for p in self.processes() if p.ppid() == keeper and "zygote" in p.cmdline()]

    def end(self) -> None:
        """End everything politely, then see that nothing is left."""
        with contextlib.suppress(OffloadError):
            for cluster in [c for c in self.all() if c.phase not in (Phase.stopped, Phase.failed)]:
                with contextlib.suppress(NotFound):
                    self.stop(cluster.id)
        with contextlib.suppress(OffloadError):
            keeper = self.keeper
            keeper.send_signal(signal.SIGTERM)
            until(lambda: not keeper.is_running(), wrong="the keeper did not end")
        self.client.close()

    def all(self) -> list[Cluster]:
        from jupyter_offload.api.models import ClusterList

        return self.client.call("listClusters", ClusterList).clusters


@contextlib.contextmanager
def _desk(**variables: str) -> Iterator[Desk]:
    home = Path(tempfile.mkdtemp(dir="/tmp", prefix="k "))  # a path with a space
    (home / "run").mkdir(mode=0o700)
    patch = pytest.MonkeyPatch()
    for name, folder in [("DATA", "data"), ("CONFIG", "conf"), ("RUNTIME", "rt")]:
        patch.setenv(f"JUPYTER_{name}_DIR", str(home / folder))
    patch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    for name, value in variables.items():
        patch.setenv(name, value)
    desk = Desk(home)
    try:
        yield desk
        desk.end()
        left = []
        deadline = time.monotonic() + 10
        while (
            left := [p for p in desk.processes() if p.status() != psutil.STATUS_ZOMBIE]
        ) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, f"left behind: {[(p.pid, p.cmdline()) for p in left]}"
    except BaseException:
        if locations.keeper_log_path().exists():
            print(locations.keeper_log_path().read_text())  # pytest shows it
        raise
    finally:
        for process in desk.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        patch.undo()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def shared() -> Iterator[Desk]:
    """One keeper for all tests of a module that do not end it."""
    with _desk() as desk:
        yield desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A keeper of the test's own."""
    with _desk() as desk:
        yield desk


@pytest.fixture
def desk_with() -> Iterator[Callable[..., Desk]]:
    """A keeper of the test's own, with environment variables."""
    with contextlib.ExitStack() as stack:
        yield lambda **variables: stack.enter_context(_desk(**variables))


@pytest.fixture
def log_of() -> Callable[[], str]:
    return lambda: locations.keeper_log_path().read_text()
