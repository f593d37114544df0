"""Each part of the chain killed while workers compute: nothing is lost, nothing is left, and nothing that is unseen is called gone."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

from jupyter_offload.api import locations
from jupyter_offload.api.models import SiteList, SweepReport

from ..keeper.conftest import until
from .conftest import SITE, FarDesk


class Heartbeat:
    """Tasks, one after the other, while something else happens."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._over = threading.Event()
        self.done = 0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._beat)

    def _beat(self) -> None:
        while not self._over.wait(0.1):
            try:
                assert self._client.submit(abs, -self.done - 1, pure=False).result(timeout=60) == self.done + 1
                self.done += 1
            except BaseException as error:
                self.error = error
                return

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(90)
        assert self.error is None, self.error

    def beats(self, more: int = 5) -> None:
        """Wait for some more tasks."""
        wanted = self.done + more
        until(lambda: self.done >= wanted or self.error, wrong="no task came back")


def health(far: FarDesk) -> Any:
    return next(s for s in far.client.call("listSites", SiteList).sites if s.name == SITE).health


def test_workers_outlive_every_part_of_the_chain(far: FarDesk) -> None:
    cluster = far.new("alive", 2, site=SITE)
    names = {w.name for w in cluster.worker_list}
    with far.dask("alive") as client, Heartbeat(client) as heart:
        heart.beats()
        for part in ("plugin", "interlink", "kube-apiserver"):
            far.node.kill(part)
            heart.beats(20)
            far.node.start(part)
            heart.beats()
        far.node.kill("interlink")
        until(lambda: far.node.condition() != "True", wrong="the node stayed ready")
        until(lambda: health(far).state != "healthy", wrong="the site stayed healthy")
        assert health(far).last_heard_at is not None
        heart.beats()
        seen = far.get("alive")
        assert seen.workers.connected == 2 and seen.phase == "running", "not ready is not gone"
        far.change("alive", workers=3)
        waiting = far.when("alive", lambda c: c.reason.code.value == "node-not-ready")
        assert waiting.workers.connected == 2
        far.node.start("interlink")
        far.node.kill("virtual-kubelet")
        heart.beats()
        far.node.start("virtual-kubelet")
        far.node.until_ready()
        far.when("alive", lambda c: c.workers.connected == 3)
    assert names <= {w.name for w in far.get("alive").worker_list}, "no worker was replaced"
    far.stop("alive")
    far.nothing_left(cluster.id)


def test_the_api_server_does_not_answer(far: FarDesk) -> None:
    cluster = far.new("unseen", 1, site=SITE)
    with far.node.cluster.silent():
        until(lambda: health(far).state == "unknown", wrong="the site is called something else than unknown")
        far.client.call("deleteCluster", type(cluster), id=cluster.id)
        stopping = far.when("unseen", lambda c: c.reason.code.value == "cannot-see")
        assert stopping.phase == "stopping", "what cannot be seen is not gone"
    far.phase("unseen", "stopped")
    far.nothing_left(cluster.id)


def test_a_stop_right_after_the_start(far: FarDesk) -> None:
    """interLink does not order a deletion after the creation that is on its way."""
    far.node.plugin.misbehave(create_delay_s=3)
    cluster = far.new("race", 2, ready=False, site=SITE)
    until(lambda: far.node.pods(**{"offload.dask.org/cluster": cluster.id}), wrong="no pod was made")
    far.stop("race")
    far.node.plugin.behave()
    far.nothing_left(cluster.id)


def test_a_deletion_that_the_site_lost(far: FarDesk) -> None:
    """The worker ends by itself: its scheduler is gone, and nobody lets it in again."""
    cluster = far.new("deaf", 1, site=SITE)
    far.node.plugin.misbehave(lose_delete=True)
    far.stop("deaf")
    far.nothing_left(cluster.id)


def test_the_next_keeper_takes_workers_up(far: FarDesk) -> None:
    cluster = far.new("taken-up", 2, site=SITE)
    names = {w.name for w in cluster.worker_list}
    far.kill_keeper()
    seen = far.when("taken-up", lambda c: c.workers.connected == 2 and len(c.worker_list) == 2)
    assert {w.name for w in seen.worker_list} == names
    assert len(far.node.running()) == 2, "a pod was doubled"
    far.stop("taken-up")
    far.nothing_left(cluster.id)


def test_a_keeper_that_forgot_everything_sweeps(far: FarDesk) -> None:
    cluster = far.new("forgotten", 1, site=SITE)
    label = {"offload.dask.org/cluster": cluster.id}
    far.kill_keeper()
    for process in far.processes():
        process.kill()
    for path in [*locations.data_folder().glob("records.sqlite*"), *(locations.data_folder() / "clusters").glob("*")]:
        subprocess.run(["rm", "-r", str(path)], check=True)  # all but owner-id
    assert far.node.pods(**label)
    # What is younger than a minute may be of a keeper elsewhere.
    deadline = time.monotonic() + 120
    while not far.client.call("sweep", SweepReport, dry_run=True).swept:
        assert time.monotonic() < deadline, "nothing was found"
        time.sleep(1)
    swept = subprocess.run(
        [sys.executable, "-m", "jupyter_offload.cli", "clusters", "sweep"], capture_output=True, text=True, check=False
    )
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert "offload-w" in swept.stdout and "deleted" in swept.stdout
    far.nothing_left(cluster.id)
