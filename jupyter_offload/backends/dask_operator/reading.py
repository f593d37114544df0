"""What a look at the site means: stages, reasons and remedies. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ...api.models import Reason, ReasonCode, Worker, WorkerStage, WorkerState
from ..kubernetes.quantities import whole
from . import names
from .snapshot import Object, Snapshot

_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_STATES = {"paused": WorkerState.paused, "closing_gracefully": WorkerState.retiring, "closing": WorkerState.retiring}


def workers_of(snapshot: Snapshot, name: str, identity: Mapping[str, Any] | None, storm_restarts: int) -> list[Worker]:
    """Return the workers of a DaskCluster.

    Args:
        snapshot: the look.
        name: the DaskCluster's.
        identity: what its scheduler says, None where it is not reached from here: then a worker whose container runs counts
            as connected, and says so.
        storm_restarts: so many restarts of one container are a failure.
    """
    known = {str(w.get("name")): (a, w) for a, w in ((identity or {}).get("workers") or {}).items()}
    found: dict[str, Worker] = {}
    for pod in snapshot.of(snapshot.pods, name, names.WORKER):
        worker = worker_of(pod, known if identity is not None else None, storm_restarts)
        before = found.get(worker.name)
        if (
            before is None or before.state is not WorkerState.connected
        ):  # a pod and the one that replaces it share a name
            found[worker.name] = worker
    for deployment in snapshot.of(snapshot.deployments, name, names.WORKER):
        if names.name_of(deployment) not in found:
            found[names.name_of(deployment)] = _without_pod(deployment)
    return [found[each] for each in sorted(found)]


def worker_of(pod: Object, known: Mapping[str, Any] | None, storm_restarts: int) -> Worker:
    """Return the worker that a pod is."""
    container = pod["spec"]["containers"][0]
    name = _variable(container, "DASK_WORKER_NAME") or names.name_of(pod)
    status = _container_status(pod)
    restarts = int(status.get("restartCount") or 0)
    limits = (container.get("resources") or {}).get("limits") or {}
    address, said = (known or {}).get(name, (None, {}))
    state, stage, reason = _place(pod, status, said, known is not None)
    if restarts >= storm_restarts and state is not WorkerState.connected:
        reason = _storm(name, restarts, status)
    metrics = said.get("metrics") or {}
    return Worker(
        name=name, state=state, stage=stage, address=address, restarts=restarts,
        cores=int(said.get("nthreads") or whole(limits.get("cpu")) or 1),
        memory_bytes=int(said.get("memory_limit") or whole(limits.get("memory")) or 0),
        memory_used_bytes=int(metrics.get("memory") or 0),
        cpu_fraction=max(0.0, float(metrics.get("cpu") or 0) / 100 / max(1, int(said.get("nthreads") or 1))),
        executing=int((metrics.get("task_counts") or {}).get("executing") or 0),
        stage_since=_time((pod.get("status") or {}).get("startTime") or pod["metadata"].get("creationTimestamp")),
        site_id=names.name_of(pod),
        message=reason.message if reason else None, code=reason.code if reason else None,
        hint=reason.hint if reason else None,
    )  # fmt: skip


def _place(
    pod: Object, status: Mapping[str, Any], said: Mapping[str, Any], heard: bool
) -> tuple[WorkerState, WorkerStage, Reason | None]:
    """Return how far a worker is, and why it is no further."""
    if "deletionTimestamp" in pod["metadata"]:
        return WorkerState.retiring, WorkerStage.started, None
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return WorkerState.lost, WorkerStage.started, _ended(pod, status)
    if "running" not in (status.get("state") or {}):
        stage = WorkerStage.scheduled if pod["spec"].get("nodeName") else WorkerStage.submitted
        return WorkerState.starting, stage, waiting_reason(pod)
    if not heard:
        note = "Its container runs; whether the scheduler has it cannot be seen from here."
        return WorkerState.connected, WorkerStage.started, Reason(code=ReasonCode.cannot_see, message=note)
    if said:
        return _STATES.get(str(said.get("status")), WorkerState.connected), WorkerStage.registered, None
    return WorkerState.starting, WorkerStage.started, None


def waiting_reason(pod: Object) -> Reason | None:
    """Return why the container of a pod does not run, if that is more than a moment's wait."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _unscheduled(str(condition.get("message") or "no node takes it"))
    container = _container_status(pod)
    waiting = (container.get("state") or {}).get("waiting") or {}
    why, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    image = pod["spec"]["containers"][0]["image"]
    if why in _IMAGE:
        return Reason(
            code=ReasonCode.image_failed, message=f"The image {image} cannot be had ({why}): {message or 'no reason given'}",
            hint="Choose another image, or have the administrator mend its name or the access to its registry.",
        )  # fmt: skip
    if why in _CONFIG:
        return Reason(
            code=ReasonCode.site_refused, message=f"The node cannot make the container ({why}): {message}",
            hint="Ask the administrator of the site.",
        )  # fmt: skip
    if why == "CrashLoopBackOff":
        last = ((container.get("lastState") or {}).get("terminated") or {}).get("exitCode")
        return Reason(
            code=ReasonCode.not_connected, message=f"It ended at once (exit code {last}) and is started again.",
            hint=f"Look at its log: kubectl -n {pod['metadata'].get('namespace')} logs {names.name_of(pod)} --previous",
        )  # fmt: skip
    return None


def _unscheduled(message: str) -> Reason:
    return Reason(
        code=ReasonCode.no_capacity, message=f"No node takes the pod now: {message}",
        hint="It starts as soon as one does. Ask for less, or for fewer, if it takes too long.",
    )  # fmt: skip


def _ended(pod: Object, status: Mapping[str, Any]) -> Reason:
    said = pod.get("status") or {}
    over = (status.get("state") or {}).get("terminated") or {}
    why = said.get("message") or said.get("reason") or over.get("reason") or "no reason given"
    return Reason(code=ReasonCode.ended_by_site, message=f"Its pod ended: {why}. Another one replaces it.")


def _storm(name: str, restarts: int, status: Mapping[str, Any]) -> Reason:
    last = ((status.get("lastState") or {}).get("terminated") or {}).get("exitCode")
    return Reason(
        code=ReasonCode.workers_failing,
        message=f"Worker {name} was started {restarts + 1} times and ended each time, last with exit code {last}.",
        hint="The operator never gives up: look at its log, then scale to 0 or stop the cluster.",
    )


def _without_pod(deployment: Object) -> Worker:
    """Return a worker whose Deployment has made no pod (yet), such as one that a quota forbids."""
    limits = (deployment["spec"]["template"]["spec"]["containers"][0].get("resources") or {}).get("limits") or {}
    reason = replica_failure(deployment)
    return Worker(
        name=names.name_of(deployment), state=WorkerState.starting, stage=WorkerStage.submitted,
        cores=whole(limits.get("cpu")) or 1, memory_bytes=whole(limits.get("memory")) or 0,
        message=reason.message if reason else None, code=reason.code if reason else None,
        hint=reason.hint if reason else None,
    )  # fmt: skip


def replica_failure(deployment: Object) -> Reason | None:
    """Return why a Deployment cannot make its pod."""
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            message = str(condition.get("message") or "")
            if "exceeded quota" in message or "failed quota" in message:
                return Reason(
                    code=ReasonCode.quota_exceeded, message=f"A quota of the namespace does not allow it: {message}",
                    hint="Stop other clusters, ask for smaller workers, or have the administrator raise the quota.",
                )  # fmt: skip
            return Reason(
                code=ReasonCode.site_refused, message=f"The cluster refuses the pod: {message}",
                hint="It is a rule of the cluster: ask its administrator.",
            )  # fmt: skip
    return None


def problem_of(workers: Sequence[Worker]) -> Reason | None:
    """Return what keeps most of the workers that are missing."""
    waiting = [w for w in workers if w.code is not None and w.state is not WorkerState.connected]
    if not waiting:
        return None
    storms = [w for w in waiting if w.code is ReasonCode.workers_failing]
    code = ReasonCode.workers_failing if storms else Counter(w.code for w in waiting).most_common(1)[0][0]
    first = next(w for w in waiting if w.code is code)
    assert first.code is not None
    return Reason(code=first.code, message=first.message or "", hint=first.hint)


def scheduler_waits(snapshot: Snapshot, name: str) -> tuple[Object | None, Reason | None]:
    """Return the ready scheduler pod of a DaskCluster, or why there is none."""
    pods = [
        p for p in snapshot.of(snapshot.pods, name, names.SCHEDULER) if "deletionTimestamp" not in p["metadata"]
    ]  # fmt: skip
    for pod in pods:
        if any(
            c["type"] == "Ready" and c["status"] == "True" for c in (pod.get("status") or {}).get("conditions") or []
        ):
            return pod, None
    for pod in pods:
        if (reason := waiting_reason(pod)) is not None:
            return None, reason.model_copy(update={"message": f"The scheduler waits. {reason.message}"})
    for deployment in snapshot.of(snapshot.deployments, name, names.SCHEDULER):
        if (reason := replica_failure(deployment)) is not None:
            return None, reason.model_copy(update={"message": f"The scheduler waits. {reason.message}"})
    return None, None


def hosts_of(snapshot: Snapshot, name: str, pod: Object) -> list[str]:
    """Return where a scheduler might be reached, the best first: its service's name, a load balancer, its pod."""
    service = next(iter(snapshot.of(snapshot.services, name, names.SCHEDULER)), None)
    hosts = []
    if service is not None:
        hosts.append(f"{names.name_of(service)}.{snapshot.namespace}")
        ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        hosts += [str(i.get("hostname") or i.get("ip")) for i in ingress]
    address = (pod.get("status") or {}).get("podIP")
    return [*hosts, *([str(address)] if address else [])]


def _container_status(pod: Object) -> Mapping[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    first: Mapping[str, Any] = statuses[0]
    return first


def _variable(container: Mapping[str, Any], name: str) -> str | None:
    return next((e.get("value") for e in container.get("env") or [] if e["name"] == name), None)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
