"""Any one process is killed at any moment: the card says what happened, and nothing else is harmed."""

from __future__ import annotations

import signal

import psutil

from jupyter_offload.api.models import Timeline
from jupyter_offload.scheduler.process import process_start

from .conftest import Desk, until


def test_keeper(desk: Desk) -> None:
    """The cluster computes on; a new keeper shows it with its history, and it is the same scheduler process."""
    cluster = desk.new("zmumu", 1)
    with desk.dask("zmumu") as dask:
        kept = dask.submit(lambda: 42, pure=False)
        assert kept.result(60) == 42
        before, history = desk.ready(cluster), desk.codes("zmumu")
        dead = desk.kill_keeper()
        assert dask.submit(lambda: 43, pure=False).result(60) == 43, "it computes without a keeper"
        again = desk.get("zmumu")
        assert desk.keeper.pid != dead
        assert (again.phase.value, again.connectable) == ("running", True), "seen at once, before the first answer"
        assert desk.codes("zmumu")[: len(history)] == history
        after = desk.ready(cluster)
        assert after["scheduler"] == before["scheduler"]
        assert process_start(after["scheduler"]["pid"]) == before["scheduler"]["start"]
        assert kept.result(60) == 42, "a result from before is still there"
    assert desk.change("zmumu", workers=2).workers.requested == 2
    desk.when("zmumu", lambda c: c.workers.connected == 2)


def test_keeper_while_a_cluster_starts(desk: Desk) -> None:
    desk.new("early", 1, ready=False)
    desk.kill_keeper()
    assert desk.when("early", lambda c: c.workers.connected == 1).phase.value == "running"


def test_keeper_while_a_cluster_stops(desk: Desk) -> None:
    desk.new("late", 1)
    desk.client.call("deleteCluster", id="late")
    desk.kill_keeper()
    assert desk.phase("late", "stopped").reason.code.value == "stop-requested"


class TestOneOfTwo:
    """Two clusters, one is hurt."""

    def test_scheduler(self, shared: Desk) -> None:
        hurt, other = shared.new("hurt-1", 1), shared.new("other-1", 1)
        before = shared.ready(other)
        psutil.Process(shared.ready(hurt)["scheduler"]["pid"]).kill()
        failed = shared.phase(hurt.id, "failed")
        assert failed.reason.code.value == "scheduler-died"
        assert "9" in failed.reason.message or "KILL" in failed.reason.message
        assert "scheduler-died" in shared.codes(hurt.id)
        self._only(shared, other.id, before)

    def test_supervisor(self, shared: Desk) -> None:
        hurt, other = shared.new("hurt-2", 1), shared.new("other-2", 1)
        before = shared.ready(other)
        psutil.Process(shared.ready(hurt)["supervisor"]["pid"]).kill()
        assert shared.phase(hurt.id, "failed").reason.code.value == "supervisor-died"
        self._only(shared, other.id, before)

    def test_worker(self, shared: Desk) -> None:
        hurt, other = shared.new("hurt-3", 2), shared.new("other-3", 1)
        victim = hurt.worker_list[0]
        assert victim.pid is not None
        psutil.Process(victim.pid).kill()
        told = shared.when(hurt.id, lambda c: c.reason.code.value == "worker-restarted")
        assert victim.name in told.reason.message
        back = shared.when(hurt.id, lambda c: c.workers.connected == 2)
        assert victim.pid not in [w.pid for w in back.worker_list]
        entries = shared.client.call("clusterTimeline", Timeline, id=hurt.id).entries
        assert [e.worker for e in entries if e.code == "worker-restarted"] == [victim.name]
        assert shared.get(other.id).reason.code.value == "all-workers"
        shared.stop(hurt.id)
        shared.stop(other.id)

    def test_zygote(self, shared: Desk) -> None:
        cluster = shared.new("forked", 1)
        before = shared.ready(cluster)
        (zygote,) = shared.zygotes()
        zygote.kill()
        until(lambda: not zygote.is_running() or zygote.status() == psutil.STATUS_ZOMBIE)
        assert shared.new("after", 1).phase.value == "running"
        assert shared.ready(cluster) == before
        with shared.dask("forked") as dask:
            assert dask.submit(lambda: 1, pure=False).result(60) == 1
        shared.stop("forked")
        shared.stop("after")

    @staticmethod
    def _only(desk: Desk, survivor: str, before: dict) -> None:
        """The other cluster is the same, and computes; of the hurt one no process is left."""
        with desk.dask(survivor) as dask:
            assert dask.submit(lambda: 7, pure=False).result(60) == 7
        assert desk.get(survivor).reason.code.value == "all-workers"
        supervisor = psutil.Process(before["supervisor"]["pid"])
        zygotes = {p.pid for p in desk.zygotes()}
        expected = {desk.keeper.pid, supervisor.pid, *zygotes, *(c.pid for c in supervisor.children(recursive=True))}
        until(lambda: {p.pid for p in desk.processes() if p.status() != psutil.STATUS_ZOMBIE} <= expected,
              wrong="a process of the hurt cluster stayed")  # fmt: skip
        desk.stop(survivor)


class TestHung:
    """A scheduler that does not answer is not gone, and holds nobody else up."""

    def test_seen_again(self, shared: Desk) -> None:
        hung = shared.new("hung-1", 1)
        process = psutil.Process(shared.ready(hung)["scheduler"]["pid"])
        process.suspend()
        try:
            told = shared.when(hung.id, lambda c: c.reason.code.value == "cannot-see")
            assert told.phase.value == "running"
            other = shared.new("other-4", 1)
            shared.stop(other.id)
            assert shared.get(hung.id).reason.code.value == "cannot-see", (
                "the other one did not have to wait for this one"
            )
        finally:
            process.resume()
        shared.when(hung.id, lambda c: c.reason.code.value == "all-workers")
        shared.stop(hung.id)

    def test_stopped_by_force(self, shared: Desk) -> None:
        hung = shared.new("hung-2", 1)
        ready = shared.ready(hung)
        tree = [psutil.Process(ready["supervisor"]["pid"]), psutil.Process(ready["scheduler"]["pid"])]
        for process in tree:
            process.send_signal(signal.SIGSTOP)
        assert shared.stop(hung.id).reason.code.value == "stop-requested"
        until(lambda: not any(p.is_running() for p in tree))
