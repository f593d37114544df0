"""Clusters of the Dask Operator from the new-cluster button to nothing left."""

from __future__ import annotations

import distributed
import pytest

from jupyter_offload.api.models import DashboardTarget

from .conftest import Desk

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(400)]


#: What a notebook with this package, and one without it, run.
WITH = """
import jupyter_offload as offload
from dask.distributed import Client
cluster = offload.new_cluster("notebook", site="operator", workers=1)
with Client(cluster) as client:
    print("result", client.submit(sum, [1, 2]).result(timeout=30))
print("encrypted", cluster.record.encrypted, cluster.security.require_encryption)
"""
WITHOUT = """
import json
from pathlib import Path
from dask.distributed import Client
connection = json.loads(Path({file!r}).read_text())
with Client(connection["scheduler_address"], timeout=20) as client:
    print("result", client.submit(sum, [3, 4]).result(timeout=30), connection["tls"])
"""


def test_a_notebook_makes_one_and_connects_with_and_without_the_package(desk: Desk) -> None:
    made = desk.home.python(WITH)
    assert "result 3" in made.stdout, made.stderr
    assert "encrypted False False" in made.stdout
    assert not desk.site_now().encrypted
    other = desk.home.python(WITHOUT.format(file=desk.connection("notebook").connection_file))
    assert "result 7 None" in other.stdout, other.stderr
    desk.stop("notebook")
    assert desk.left() == {}


def test_a_cluster_is_made_computes_scales_and_leaves_nothing(desk: Desk) -> None:
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
        plots = desk.client.call("clusterDashboard", DashboardTarget, id="ours").plots
        assert "individual-task-stream" in {p.path for p in plots}
        desk.change("ours", workers=3)
        desk.connected("ours", 3)
        client.wait_for_workers(3, timeout=30)
        desk.change("ours", workers=1)
        desk.connected("ours", 1)
    assert desk.left()["daskclusters"] == [f"ours-{made.id[-12:]}"]
    stopped = desk.stop("ours")
    assert stopped.reason.code == "stop-requested"
    assert desk.left() == {}
