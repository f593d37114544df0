"""Each way in which the site misbehaves does what it says, through real interLink."""

from __future__ import annotations

import json

import pytest
from small_pods import SmallPod, SmallPods

from tests.stack.interlink.node import VirtualNode, until

ANNOTATION = "interlink.virtual-kubelet.io/ping-response"


def test_a_refusal_ends_the_pod_with_its_sentence(pods: SmallPods) -> None:
    pods.node.misbehave(refuse="partition gpu is closed on Mondays")
    pod = pods.run()
    ended = pod.until("terminated")
    assert (ended["exitCode"], ended["message"]) == (1, "partition gpu is closed on Mondays")
    until(lambda: pod.phase == "Failed")


def test_a_queue_says_why_until_there_is_room(pods: SmallPods) -> None:
    pods.node.misbehave(queue="Priority")
    pod = pods.run("import time; time.sleep(3600)")
    waiting = pod.until("waiting")
    number = pod.jobs()[0]["number"]
    assert waiting["reason"] == "Queued"
    assert waiting["message"].startswith(f"job {number} PENDING (Priority), queued since ")
    assert pod.phase == "Running", "as interLink shows a pod that waits in a queue"
    pods.node.behave()
    pod.until("running")


def test_too_few_gpus_keep_a_pod_in_the_queue(pods: SmallPods) -> None:
    pods.node.misbehave(gpus_free=0)
    without, needing = pods.asleep(), pods.run("import time; time.sleep(3600)", gpus=1)
    assert "PENDING (Resources) for nvidia.com/gpu" in needing.until("waiting")["message"]
    assert without.jobs("running")
    pods.node.behave()
    needing.until("running")


def test_a_lost_deletion_leaves_the_job_although_the_pod_is_gone(pods: SmallPods) -> None:
    pod = pods.asleep()
    uid = pod.jobs()[0]["uid"]
    with pods.node.misbehaving(lose_delete=True):
        pod.delete()
        until(lambda: pod.object() is None)
        until(lambda: [r for r in pods.node.requests("/delete") if r["uid"] == uid])
        assert pod.jobs("running")
    pods.node.end_job(pod.name)


@pytest.mark.parametrize("tombstones", [True, False])
def test_a_deletion_that_overtakes_its_creation(pods: SmallPods, tombstones: bool) -> None:
    """With a tombstone nothing begins; without one a job is left that no pod belongs to."""
    pods.node.misbehave(create_delay_s=3, tombstones=tombstones)
    pod = pods.run("import time; time.sleep(3600)")
    until(lambda: [r for r in pods.node.requests("/create") if r["uid"] == pod.object()["metadata"]["uid"]])
    uid = pod.object()["metadata"]["uid"]
    pod.delete()
    until(lambda: pod.object() is None)
    until(lambda: [r for r in pods.node.requests("/delete") if r["uid"] == uid])
    pods.node.behave()
    after = pods.asleep()  # its creation comes after that of the other, and takes no time
    if tombstones:
        until_created(pods, uid)
        assert pod.jobs() == []
    else:
        until(lambda: pod.jobs("running"))
        pods.node.end_job(pod.name)
    assert after.jobs("running")


def until_created(pods: SmallPods, uid: str) -> None:
    """Wait until the answer to a creation was given."""
    until(lambda: [r for r in pods.node.requests("/created") if r["uid"] == uid])


def test_201_and_an_error_leave_a_job_that_runs(pods: SmallPods) -> None:
    """What interLink makes of an answer that is not 200: no JobID, and yet there is a job."""
    for status in (201, 500):
        with pods.node.misbehaving(create_status=status):
            pod = pods.run("import time; time.sleep(3600)")
            until(lambda pod=pod: pod.jobs("running"))
            until_created(pods, pod.jobs()[0]["uid"])
        assert pod.job_id is None
        pods.node.end_job(pod.name)


@pytest.mark.parametrize("status", ["null", "stale"])
def test_a_status_that_is_not_the_truth_hides_the_end(pods: SmallPods, status: str) -> None:
    pod = pods.asleep()
    pod.until("running")
    pods.node.misbehave(status=status)
    pods.node.end_job(pod.name)
    asked = len(pods.node.requests("/status"))
    until(lambda: len(pods.node.requests("/status")) > asked + 2)
    assert "terminated" not in pod.state
    pods.node.behave()
    assert pod.until("terminated")["exitCode"] == 137


def test_lost_secrets_leave_an_empty_place(pods: SmallPods) -> None:
    path = f"/api/v1/namespaces/{pods.node.namespace}/secrets"
    pods.client.post(path, json={"metadata": {"name": "lost"}, "data": {"key": "AA=="}}).raise_for_status()
    pods.node.misbehave(drop_secrets=True)
    pod = run_with_secret(pods)
    pod.until("terminated")
    pods.node.behave()
    kept = run_with_secret(pods)
    kept.until("terminated")
    pods.client.delete(f"{path}/lost").raise_for_status()
    assert (pod.log(), kept.log()) == ("False\n", "True\n")


def run_with_secret(pods: SmallPods) -> SmallPod:
    return pods.run(
        "import os; print(os.path.exists('/run/offload/key'))",
        volumes=[{"name": "v", "secret": {"secretName": "lost"}}], mounts=[{"name": "v", "mountPath": "/run/offload"}],
    )  # fmt: skip


def test_a_ping_says_zero_or_anything(pods: SmallPods, virtual_node: VirtualNode) -> None:
    """Real nodes were seen with each."""

    def said() -> str:
        return str(virtual_node.object()["metadata"]["annotations"][ANNOTATION])

    virtual_node.misbehave(capacity_zero=True)
    until(lambda: json.loads(said())["resources"]["cpu"] == "0", timeout_s=90)
    virtual_node.misbehave(ping="PARTITION AVAIL")
    until(lambda: said() == "PARTITION AVAIL", timeout_s=90)


def test_a_silent_site_takes_what_it_is_asked_and_answers_later(pods: SmallPods) -> None:
    ends = pods.asleep()
    ends.until("running")
    with pods.node.misbehaving(silent=True):
        new = pods.run("print('late')")
        uid = new.object()["metadata"]["uid"]
        until(lambda: [r for r in pods.node.requests("/create") if r["uid"] == uid])
        pods.node.end_job(ends.name)
        asked = len(pods.node.requests("/status"))
        until(lambda: len(pods.node.requests("/status")) > asked)
        assert [r for r in pods.node.requests("/created") if r["uid"] == uid] == []
        assert (new.job_id, ends.state.keys()) == (None, {"running"})
    assert new.until("terminated")["exitCode"] == 0
    assert ends.until("terminated")["exitCode"] == 137


def test_a_pod_that_breaks_the_contract_is_written_down(pods: SmallPods, virtual_node: VirtualNode) -> None:
    pod = pods.run("print('two words')")
    pod.until("terminated")
    found = [v["violations"] for v in virtual_node.violations() if v["pod"] == pod.name]
    assert any("would be read by a shell" in sentence for sentence in found[0])


def test_only_what_there_is_can_be_misbehaved(virtual_node: VirtualNode) -> None:
    with pytest.raises(AssertionError, match="explode"):
        virtual_node.misbehave(explode=True)
