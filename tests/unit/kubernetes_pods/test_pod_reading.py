"""From a pod as the API server shows it to the stage of its worker, as a table. The pods were seen on real virtual nodes."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_offload.api.models import ReasonCode, WorkerStage
from jupyter_offload.backends.kubernetes.reading import read_pod, too_late, why_ended

JOB = {"annotations": {"JobID": "job-1"}}
AT = "2026-11-27T11:34:21Z"
LATER = "2026-11-27T11:40:00Z"


def pod(meta: dict[str, Any] | None = None, node: str | None = "vk", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", **(meta or {})}, "spec": {"nodeName": node} if node else {}, "status": status}


def container(**state: Any) -> list[dict[str, Any]]:
    return [{"name": "worker", "state": state}]


def ended(code: int, message: str = "", began: str = AT, end: str = LATER) -> list[dict[str, Any]]:
    return container(terminated={"exitCode": code, "message": message, "startedAt": began, "finishedAt": end})


def unschedulable(message: str) -> list[dict[str, Any]]:
    return [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]


GPU = "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) didn't match. preemption: 0/2 nodes are available"
TAINT = "0/1 nodes are available: 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/1"
QUEUED = container(waiting={"reason": "Queued", "message": "job 1 PENDING (Resources)"})
NO_IMAGE = container(waiting={"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'})
#: what is seen, stage, code, over
ROWS: dict[str, tuple[dict[str, Any], str, str | None, bool]] = {
    "new": (pod(node=None), "submitted", None, False),
    "no GPU": (pod(node=None, conditions=unschedulable(GPU)), "submitted", "no-capacity", False),
    "node away": (pod(node=None, conditions=unschedulable(TAINT)), "submitted", "node-not-ready", False),
    "given to the node": (pod(phase="Pending"), "scheduled", None, False),
    "invented running": (pod(phase="Pending", containerStatuses=container(running={})), "scheduled", None, False),
    "taken, not looked at": (pod(JOB, phase="Pending", containerStatuses=container(running={})), "accepted", None, False),
    "queued shows Running": (pod(JOB, phase="Running", containerStatuses=QUEUED), "queued", "site-queued", False),
    "runs": (pod(JOB, phase="Running", containerStatuses=container(running={})), "started", None, False),
    "creating": (pod(JOB, containerStatuses=container(waiting={"reason": "ContainerCreating"})), "accepted", None, False),
    "no image": (pod(JOB, phase="Pending", containerStatuses=NO_IMAGE), "accepted", "image-failed", False),
    "refused": (pod(JOB, containerStatuses=ended(1, "bad flag", AT, AT)), "started", "site-refused", True),
    "killed": (pod(JOB, containerStatuses=ended(137)), "started", "ended-by-site", True),
    "ended well": (pod(JOB, containerStatuses=ended(0)), "started", "ended-by-site", True),
    "provider": (pod(phase="Failed", reason="ProviderFailed", message="no"), "accepted", "site-refused", True),
    "evicted": (pod(phase="Failed", reason="Evicted", message="disk"), "accepted", "ended-by-site", True),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_what_a_pod_says(row: str) -> None:
    seen, stage, code, over = ROWS[row]
    sight = read_pod(seen, virtual=True)
    assert (sight.stage.value, sight.why.code.value if sight.why else None, sight.over) == (stage, code, over)


def test_words_of_the_site_arrive() -> None:
    lacking = read_pod(ROWS["no GPU"][0], virtual=True).why
    assert lacking is not None and lacking.message == "No node has room: Insufficient nvidia.com/gpu."
    away = read_pod(ROWS["node away"][0], virtual=True).why
    assert away is not None and away.message.endswith("untolerated taint(s)")
    queued = read_pod(ROWS["queued shows Running"][0], virtual=True)
    assert queued.why is not None and queued.why.message == "job 1 PENDING (Resources)" and queued.site_id == "job-1"


def test_elsewhere_the_start_time_says_that_the_node_took_it() -> None:
    assert read_pod(pod(phase="Pending"), virtual=False).stage is WorkerStage.scheduled
    assert read_pod(pod(phase="Pending", startTime=AT), virtual=False).stage is WorkerStage.accepted


def test_last_words_come_first() -> None:
    sight = read_pod(pod(JOB, containerStatuses=ended(65, "Slurm job 21 ended with exit code 65")), virtual=True)
    said = 'x\noffload-end: {"code": "files-missing", "message": "No job.json.", "hint": "Ask."}\n'
    assert why_ended(sight, said).message == "No job.json."
    assert why_ended(sight, "").code is ReasonCode.files_missing, "the exit code says so too"
    bundle = read_pod(pod(JOB, containerStatuses=ended(2, "", AT, AT)), virtual=True)
    tail = "python3: can't open file '/run/offload/worker.pyz': [Errno 2] No such file or directory"
    assert why_ended(bundle, tail).code is ReasonCode.files_missing
    refused = read_pod(ROWS["refused"][0], virtual=True)
    assert "bad flag" in why_ended(refused, "").message


@pytest.mark.parametrize(
    ("stage", "code"),
    [("submitted", "site-silent"), ("scheduled", "site-silent"), ("queued", "queued-too-long"),
     ("accepted", "not-connected"), ("started", "not-connected")],
)  # fmt: skip
def test_what_takes_too_long_is_told(stage: str, code: str) -> None:
    why = too_late(WorkerStage(stage), None, "30 s", "vk")
    assert why.code.value == code and "30 s" in why.message and why.hint
