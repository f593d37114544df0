"""What the status of a pod says, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_offload.doorway.sight import Sight, look


def pod(status: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", **meta}, "spec": {"nodeName": "n1"}, "status": status}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return pod({"phase": "Pending", "containerStatuses": [{"state": state}]})


SCHEDULED = [{"type": "PodScheduled", "status": "True"}]
RUNNING = {"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [{"state": {"running": {}}}]}


def test_one_that_runs_has_an_address() -> None:
    assert look(pod(RUNNING)).address == "10.0.0.7"


@pytest.mark.parametrize(
    "reason",
    ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "RunContainerError"],
)
def test_what_time_does_not_mend_is_trouble_with_a_remedy(reason: str) -> None:
    seen = look(waiting(reason, "no such image"))
    assert seen.trouble == f"Its container does not start ({reason}): no such image."
    assert seen.hint
    assert "{" not in seen.hint


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_what_time_mends_is_none(reason: str) -> None:
    assert look(waiting(reason)).trouble is None


def test_no_node_takes_it() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: taints."}
    seen = look(pod({"phase": "Pending", "conditions": [condition]}))
    assert seen.stage == "no node takes it now: 0/3 nodes: taints"
    assert (seen.trouble, seen.over) == (None, False)
    assert "tolerations" in str(seen.hint)


def test_a_volume_that_does_not_come_is_told_by_the_newest_warning() -> None:
    events = [
        {"type": "Warning", "message": "new.", "lastTimestamp": "2026-01-01T00:00:02Z"},
        {"type": "Warning", "message": "old.", "lastTimestamp": "2026-01-01T00:00:01Z"},
        {"type": "Normal", "message": "Scheduled", "lastTimestamp": "2026-01-01T00:00:03Z"},
    ]
    seen = look(pod({"phase": "Pending", "conditions": SCHEDULED}), events)
    assert seen.stage == "its node prepares it: new"


def test_its_end_is_quoted() -> None:
    ended = {"exitCode": 1, "reason": "Error", "message": "line\nNo module named jupyter_offload\n"}
    seen = look(pod({"phase": "Failed", "containerStatuses": [{"state": {"terminated": ended}}]}))
    assert (seen.over, seen.failed) == (True, True)
    assert seen.trouble == "It ended (Error, exit code 1): line No module named jupyter_offload"


def test_an_eviction_has_no_container_to_quote() -> None:
    seen = look(pod({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}))
    assert seen.trouble == "It ended (Evicted): The node was low on memory."


def test_one_that_is_being_deleted_is_waited_for_whatever_else_it_says() -> None:
    seen = look(pod(RUNNING, deletionTimestamp="2026-01-01T00:00:00Z"))
    assert seen.going
    assert seen.address is None
    assert "on node n1" in seen.stage
    assert "kubectl delete pod p --force" in str(seen.hint)


def test_a_pod_without_a_status_yet() -> None:
    made: dict[str, Any] = {"metadata": {"name": "p"}, "spec": {}}
    assert look(made) == Sight("it waits for a node")
