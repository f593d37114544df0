"""Why a cluster waits, as its card says it: image, capacity, quota, failing workers, and an operator that is not there."""

from __future__ import annotations

import distributed
import psutil
import pytest

from jupyter_offload.api.models import KeeperHealth
from tests.stack.dask_operator import DaskOperator

from .conftest import Desk

pytestmark = pytest.mark.timeout(400)


def test_an_image_that_cannot_be_had(desk: Desk, operator: DaskOperator) -> None:
    desk.new("nowhere", workers=1, image="broken")
    waits = desk.when("nowhere", lambda c: c.reason.code == "image-failed")
    assert "registry.invalid/none:1" in waits.reason.message
    assert waits.reason.hint
    assert waits.phase == "starting"
    desk.stop("nowhere")
    assert desk.left() == {}


def test_workers_that_no_node_takes(desk: Desk, operator: DaskOperator) -> None:
    desk.new("greedy", workers=1, profile="huge")
    waits = desk.when("greedy", lambda c: c.reason.code == "no-capacity")
    assert "Insufficient cpu" in waits.reason.message
    [worker] = waits.worker_list
    assert worker.stage == "submitted"
    desk.stop("greedy")
    assert desk.left() == {}


def test_a_quota_that_is_used_up(desk: Desk, operator: DaskOperator) -> None:
    quotas = f"/api/v1/namespaces/{desk.namespace}/resourcequotas"
    desk.new("small", workers=1)
    desk.connected("small", 1)
    used = len(desk.control_plane.admin.get(f"/api/v1/namespaces/{desk.namespace}/pods").json()["items"])
    desk.control_plane.make(quotas, {"metadata": {"name": "few"}, "spec": {"hard": {"pods": str(used)}}})
    desk.node.until(lambda: desk.control_plane.admin.get(f"{quotas}/few").json().get("status", {}).get("used"))
    try:
        desk.change("small", workers=2)
        waits = desk.when("small", lambda c: c.reason.code == "quota-exceeded")
        assert "few" in waits.reason.message
        assert waits.workers.connected == 1
    finally:
        desk.control_plane.admin.delete(f"{quotas}/few")
    desk.stop("small")
    assert desk.left() == {}


def test_workers_that_end_again_and_again(desk: Desk, operator: DaskOperator) -> None:
    """The operator's Deployments replace them for ever, so that somebody has to say it."""
    desk.file(storm_restarts=2)
    desk.new("storm", workers=1, env={"DASK_DISTRIBUTED__WORKER__PRELOAD": '["nothing_of_this_name"]'})
    waits = desk.when("storm", lambda c: c.reason.code == "workers-failing")
    assert "exit code" in waits.reason.message
    desk.stop("storm")
    assert desk.left() == {}


#: A Python whose scheduler can be reached from its own pod only, as one in a cluster's network is from outside.
SHY = """#!/bin/sh
set -- $(echo "$@" | sed "s/--host 0.0.0.0 --port 8786/--host 127.0.0.1 --port 0/")
exec python "$@"
"""
ATTACH = """
import jupyter_offload as offload
from dask.distributed import Client
try:
    {call}
except Exception as error:
    print("said", error)
"""


def test_a_scheduler_that_no_connection_from_here_reaches(desk: Desk, operator: DaskOperator) -> None:
    shy = desk.home.folder / "shy-python"
    shy.write_text(SHY)
    shy.chmod(0o755)
    desk.file(images=[{"name": "shy", "image": "dask:test", "python": str(shy)}])
    for call in (
        'offload.new_cluster("shy", site="operator", workers=0)',
        'Client(offload.cluster("shy"))',
    ):
        said = desk.home.python(ATTACH.format(call=call)).stdout
        assert f"kubectl -n {desk.namespace} port-forward svc/shy-" in said, said
    shown = desk.get("shy")
    assert (shown.phase, shown.reason.code, shown.connectable, shown.dashboard) == (
        "running", "scheduler-not-reached", False, False,
    )  # fmt: skip
    desk.stop("shy")
    assert desk.left() == {}


def test_an_operator_that_is_away(desk: Desk, operator: DaskOperator) -> None:
    """What runs goes on; what is asked of it waits, in words; and what is to be deleted is said to be left until it is back."""
    desk.new("before", workers=1)
    desk.connected("before", 1)
    operator.stop()
    try:
        desk.new("after", workers=1)
        waits = desk.when("after", lambda c: c.reason.code == "site-silent")
        assert "Dask Operator" in waits.reason.message
        assert waits.phase == "starting"
        health = desk.site_now().health
        assert (health.state, "Dask Operator" in health.message) == ("unhealthy", True)
        desk.change("before", workers=2)
        assert "1 workers of" in desk.when("before", lambda c: c.reason.code == "site-silent").reason.message
        desk.client.call("deleteCluster", type(waits), id="before")
        desk.when("before", lambda c: c.phase == "stopping")
        desk.node.until(lambda: desk.left()["daskclusters"])
    finally:
        operator.start()
    desk.when("before", lambda c: c.phase == "stopped")
    desk.connected("after", 1)
    desk.stop("after")
    assert desk.left() == {}


def test_a_keeper_that_is_killed_takes_its_clusters_up_again(desk: Desk, operator: DaskOperator) -> None:
    desk.new("long", workers=1)
    desk.connected("long", 1)
    keeper = psutil.Process(desk.client.call("health", KeeperHealth).pid)
    keeper.kill()
    keeper.wait(20)
    again = desk.connected("long", 1)
    assert again.dashboard
    assert not again.adopted
    desk.stop("long")
    assert desk.left() == {}


def test_adaptive_is_the_operators(desk: Desk, operator: DaskOperator) -> None:
    desk.new("adapts", workers=1, adaptive={"minimum": 1, "maximum": 3})
    desk.connected("adapts", 1)
    desk.node.until(lambda: desk.left().get("daskautoscalers"))
    with distributed.Client(desk.connection("adapts").scheduler_address, timeout=20) as client:
        tasks = client.map(lambda n: __import__("time").sleep(0.5) or n, range(200), pure=False)
        desk.when("adapts", lambda c: c.workers.connected >= 2)
        client.cancel(tasks)
    desk.change("adapts", workers=1, adaptive=None)
    desk.connected("adapts", 1)
    desk.node.until(lambda: not desk.left().get("daskautoscalers"))
    desk.stop("adapts")
    assert desk.left() == {}
