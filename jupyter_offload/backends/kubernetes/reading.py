"""From what the API server shows of a pod to how far its worker got and why it waits. Pure.

Facts this rests on: interLink's virtual kubelet shows a pod whose container waits in the site's queue with the phase Running and as
Ready; before its first look at the site it invents a container that runs; a pod that the site never heard of stays Pending without
the annotation ``JobID`` for ever; ``terminated.reason`` is overwritten on the way, ``terminated.message`` arrives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...api.models import ReasonCode, WorkerStage
from ...worker import endings
from ...worker.endings import Ending, ending_of
from .names import JOB_ID

#: Why a container waits that has no image; as container runtimes word it.
_IMAGE_REASONS = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable",
})  # fmt: skip
#: Why a container waits that will start in a moment.
_SOON = frozenset({"ContainerCreating", "PodInitializing", ""})
_INSUFFICIENT = re.compile(r"(Insufficient [^\s,]*[^\s,.])")
_LOST_NODE = re.compile(r"untolerated taint")
#: What the scheduler adds about things that it tried besides.
_BESIDES = re.compile(r"[.,]?\s*(preemption:|no new claims)")


@dataclass(frozen=True)
class Why:
    """A reason: code, sentence, remedy."""

    code: ReasonCode
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class PodSight:
    """What a pod says.

    Attributes:
        stage: how far it got, without what only the scheduler knows.
        why: why it waits, or why it ended; None where there is nothing to say.
        over: it ended; ``exit_code`` is that of its process, None where nobody tells.
        never_ran: it ended, and nothing ever said that it ran.
        site_id: its number at the site.
        deleting: its deletion is under way.
        node: where it was put.
    """

    stage: WorkerStage
    why: Why | None = None
    over: bool = False
    exit_code: int | None = None
    never_ran: bool = False
    site_id: str | None = None
    deleting: bool = False
    node: str | None = None


def read_pod(pod: Mapping[str, Any], *, virtual: bool) -> PodSight:
    """Read a pod.

    Args:
        pod: as the API server shows it.
        virtual: whether it is for a virtual node; elsewhere ``startTime`` says that the node took it.
    """
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    site_id = (meta.get("annotations") or {}).get(JOB_ID)
    node = spec.get("nodeName")
    known = {"site_id": site_id, "node": node, "deleting": "deletionTimestamp" in meta}
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or []), {})
    state = container.get("state") or {}
    if "terminated" in state:
        return _terminated(state["terminated"], status, known)
    if status.get("phase") in ("Failed", "Succeeded"):
        return _ended_without_container(status, known)
    taken = site_id is not None if virtual else "startTime" in status
    if "waiting" in state and taken:
        return _waiting(state["waiting"], known)
    if "running" in state and taken and status.get("phase") == "Running":
        return PodSight(WorkerStage.started, **known)
    if taken:
        return PodSight(WorkerStage.accepted, **known)
    if node is not None:
        return PodSight(WorkerStage.scheduled, **known)
    return PodSight(WorkerStage.submitted, _unschedulable(status), **known)


def _terminated(terminated: Mapping[str, Any], status: Mapping[str, Any], known: Mapping[str, Any]) -> PodSight:
    code = terminated.get("exitCode")
    said = str(terminated.get("message") or status.get("message") or "").strip()
    began, ended = terminated.get("startedAt"), terminated.get("finishedAt")
    never_ran = code not in (0, None) and began == ended
    if never_ran and said:
        why = Why(ReasonCode.site_refused, f"The site refused it: {said}", _ASK_SITE)
    elif code == 0:
        why = Why(ReasonCode.ended_by_site, said or "It ended without an error.", "Look at its log.")
    else:
        why = Why(ReasonCode.ended_by_site, said or _exit(code), "Look at its log, and ask the site about the job.")
    return PodSight(WorkerStage.started, why, over=True, exit_code=code, never_ran=never_ran, **known)


def _ended_without_container(status: Mapping[str, Any], known: Mapping[str, Any]) -> PodSight:
    reason, said = str(status.get("reason") or ""), str(status.get("message") or "").strip()
    if reason == "ProviderFailed":  # how virtual kubelets since 0.6.1 show what the site answered
        why = Why(ReasonCode.site_refused, f"The site refused it: {said}", _ASK_SITE)
    else:
        told = ": ".join(part for part in (reason, said) if part) or "The pod failed, and nothing says why."
        why = Why(ReasonCode.ended_by_site, told, "Ask the administrator of the site.")
    return PodSight(WorkerStage.accepted, why, over=True, never_ran=True, **known)


def _waiting(waiting: Mapping[str, Any], known: Mapping[str, Any]) -> PodSight:
    reason, said = str(waiting.get("reason") or ""), str(waiting.get("message") or "").strip()
    if reason in _IMAGE_REASONS:
        told = said or f"The image cannot be had ({reason})."
        return PodSight(WorkerStage.accepted, Why(ReasonCode.image_failed, told, _ASK_IMAGE), **known)
    if reason in _SOON:
        return PodSight(WorkerStage.accepted, **known)
    why = Why(ReasonCode.site_queued, said or reason, "It starts when the site has room.")
    return PodSight(WorkerStage.queued, why, **known)


def _unschedulable(status: Mapping[str, Any]) -> Why | None:
    """Return why Kubernetes chose no node, in its own words made short."""
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            said = _BESIDES.split(str(condition.get("message") or ""), maxsplit=1)[0].strip()
            if lacking := list(dict.fromkeys(_INSUFFICIENT.findall(said))):
                return Why(ReasonCode.no_capacity, f"No node has room: {', '.join(lacking)}.", _NO_ROOM)
            if _LOST_NODE.search(said):
                return Why(ReasonCode.node_not_ready, f"The node takes no pods now: {said}", _NOT_READY)
            return Why(ReasonCode.no_capacity, f"No node fits: {said or 'Kubernetes does not say why.'}", _NO_ROOM)
    return None


def _exit(code: int | None) -> str:
    return "It ended, and nothing says how." if code is None else f"It ended with exit code {code}."


# ---------------------------------------------------------------- endings and deadlines
def why_ended(sight: PodSight, log_tail: str) -> Why:
    """Return why a worker is over: its own last words first, then what the site says."""
    ending: Ending | None = ending_of(sight.exit_code, log_tail)
    if ending is not None:
        return Why(_ENDINGS[ending.code], ending.message, ending.hint)
    return sight.why or Why(ReasonCode.ended_by_site, _exit(sight.exit_code))


def too_late(stage: WorkerStage, why: Why | None, waited: str, node: str | None) -> Why:
    """Return why a worker is given up that stayed in a stage for ``waited``, such as ``30 s``."""
    if why is not None and why.code is ReasonCode.image_failed:
        return why
    if stage is WorkerStage.submitted:
        if why is not None:
            return Why(why.code, f"{why.message} It waited {waited}.", why.hint)
        return Why(ReasonCode.site_silent, f"Kubernetes chose no node for it in {waited}.", "Is its scheduler running?")
    if stage is WorkerStage.scheduled:
        return Why(
            ReasonCode.site_silent, f"The site behind {node or 'the node'} did not take it in {waited}.",
            "Virtual nodes never ask a site again. Ask its administrator whether interLink and its plugin run.",
        )  # fmt: skip
    if stage is WorkerStage.queued:
        said = f" Last the site said: {why.message}" if why else ""
        return Why(
            ReasonCode.queued_too_long, f"It waited {waited} in the queue of the site.{said}", "Try another site."
        )
    return Why(
        ReasonCode.not_connected, f"It runs, but did not come to the scheduler in {waited}.",
        "Can the site's nodes dial the relay? Its log says how far it came. Try: jupyter offload doctor --canary SITE",
    )  # fmt: skip


_ENDINGS = {
    endings.VERSION_MISMATCH: ReasonCode.version_mismatch,
    endings.FILES_MISSING: ReasonCode.files_missing,
    endings.NOT_CONNECTED: ReasonCode.not_connected,
    endings.IMAGE_FAILED: ReasonCode.image_failed,
    endings.RELAY_UNREACHABLE: ReasonCode.relay_unreachable,
}
_ASK_SITE = "Choose another worker size or image, or ask the administrator of the site."
_ASK_IMAGE = "Choose another image, or have the site's file name one that the site can get."
_NO_ROOM = "It starts when others end. Ask for fewer or smaller workers, or choose another site."
_NOT_READY = "Workers that run go on. It starts when the node is back."
