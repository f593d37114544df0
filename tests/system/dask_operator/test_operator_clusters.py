"""Clusters of the Dask Operator from the new-cluster button to nothing left."""

from __future__ import annotations

import distributed
import pytest

from tests.stack.dask_operator import DaskOperator

from .conftest import Desk

pytestmark = pytest.mark.usefixtures("operator")


def test_a_cluster_is_made_computes_scales_and_leaves_nothing(desk: Desk, operator: DaskOperator) -> None:
    made = desk.new("ours", workers=1)
    assert not made.encrypted
    assert made.phase == "pending"
    ready = desk.connected("ours", 1)
    assert ready.dashboard
    [worker] = ready.worker_list
    assert (worker.cores, worker.stage) == (1, "registered")
    found = desk.connection("ours")
    assert found.tls is None
    with distributed.Client(found.scheduler_address, timeout=20) as client:
        assert client.submit(sum, range(100)).result(timeout=30) == 4950
        desk.change("ours", workers=3)
        desk.connected("ours", 3)
        assert len(client.scheduler_info()["workers"]) == 3
        desk.change("ours", workers=1)
        desk.connected("ours", 1)
    assert desk.left()["daskclusters"] == [f"ours-{made.id[-12:]}"]
    stopped = desk.stop("ours")
    assert stopped.reason.code == "stop-requested"
    assert desk.left() == {}
