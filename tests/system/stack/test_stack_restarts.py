"""Each part of the chain is killed and started while a pod runs: the job goes on, and the truth comes back."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from small_pods import SmallPods

from tests.stack.interlink.node import VirtualNode, until

CHAIN = [
    "plugin",
    "interlink",
    "virtual-kubelet",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "etcd",
]


@pytest.mark.parametrize("part", CHAIN)
def test_a_killed_part_comes_back_to_a_pod_that_runs(pods: SmallPods, part: str) -> None:
    node = pods.node
    pod = pods.asleep()
    pod.until("running")
    pid = pod.jobs()[0]["pid"]
    node.kill(part)
    node.start(part)
    until(lambda: node.cluster.admin.get("/readyz").status_code == 200)
    if part == "etcd":  # its data is in a folder; the API server found it again
        assert pod.object() is not None
    assert [j["pid"] for j in pod.jobs("running")] == [pid]
    if part == "virtual-kubelet":
        until(lambda: node.condition() == "True", timeout_s=120)
    node.end_job(pod.name)
    assert pod.until("terminated")["exitCode"] == 137
    after = pods.run("print('as before')")
    assert after.until("terminated")["exitCode"] == 0
    assert after.log() == "as before\n"


def test_what_happens_while_the_plugin_is_away_is_known_when_it_is_back(pods: SmallPods) -> None:
    node = pods.node
    ends, goes, waits = pods.asleep(), pods.asleep(), None
    for pod in (ends, goes):
        pod.until("running")
    with node.misbehaving(queue="Priority"):
        waits = pods.run("print('at last')")
        waits.until("waiting")
        node.kill("plugin")
        os.kill(ends.jobs()[0]["pid"], signal.SIGTERM)
        until(lambda: not ends.jobs("running"))
        node.start("plugin")
        assert ends.until("terminated")["exitCode"] == 143
        assert "SIGTERM" in ends.state["terminated"]["message"]
        assert goes.state.keys() == {"running"}
        assert waits.jobs("queued")
    assert waits.until("terminated")["exitCode"] == 0
    numbers = [j["number"] for j in node.jobs()]
    assert len(numbers) == len(set(numbers))
    goes.delete()
    goes.until_gone()


def test_a_job_whose_runner_was_killed_is_said_to_have_vanished(pods: SmallPods) -> None:
    """And nothing of it is left, since its command goes with the runner."""
    pod = pods.asleep()
    pod.until("running")
    pid = pod.jobs()[0]["pid"]
    psutil.Process(pid).parent().kill()
    ended = pod.until("terminated")
    assert (ended["exitCode"], ended["message"]) == (137, "The job vanished: the process that ran it was killed.")
    until(lambda: not psutil.pid_exists(pid))


def test_a_part_that_is_suspended_answers_nothing(pods: SmallPods, virtual_node: VirtualNode) -> None:
    pod = pods.asleep()
    pod.until("running")
    with virtual_node.suspended("plugin"):
        virtual_node.end_job(pod.name)
        asked = len(virtual_node.requests("/status"))
        until(lambda: not pod.jobs("running"))
        assert len(virtual_node.requests("/status")) <= asked + 1
        assert pod.state.keys() == {"running"}
    pod.until("terminated")
