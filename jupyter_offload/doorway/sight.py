"""What a pod's status says about its way to running, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Reasons of a waiting container that time alone does not mend, and what does.
_HOPELESS = {
    "ErrImagePull": "Correct image in placement.yaml, or have the registry let the cluster pull it.",
    "ImagePullBackOff": "Correct image in placement.yaml, or have the registry let the cluster pull it.",
    "InvalidImageName": "Correct image in placement.yaml.",
    "ErrImageNeverPull": "Put the image on the nodes, or correct image in placement.yaml.",
    "CreateContainerConfigError": "See: kubectl describe pod {name}",
    "CreateContainerError": "See: kubectl describe pod {name}",
    "RunContainerError": "Correct python in placement.yaml; see: kubectl describe pod {name}",
    "CrashLoopBackOff": "See: kubectl logs {name}",
}


@dataclass(frozen=True)
class Sight:
    """A pod at one moment.

    Attributes:
        stage: what it waits for, as the end of a sentence.
        trouble: why it will not come by itself, None as long as it may.
        hint: what mends that.
        over: it has ended; ``failed`` says how.
        address: where it is, once it runs.
    """

    stage: str
    trouble: str | None = None
    hint: str | None = None
    over: bool = False
    failed: bool = False
    going: bool = False
    address: str | None = None


def look(pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]] = ()) -> Sight:
    """Return what is to be seen; ``events`` are those about the pod, in any order."""
    meta, status = pod["metadata"], pod.get("status") or {}
    name, phase = meta["name"], status.get("phase")
    if meta.get("deletionTimestamp"):
        node = pod["spec"].get("nodeName")
        where = f" on node {node}" if node else ""
        return Sight(
            f"the one before is still ending{where}", going=True,
            hint=f"If that node is gone for good: kubectl delete pod {name} --force",
        )  # fmt: skip
    if phase in ("Succeeded", "Failed"):
        return Sight("the one before has ended", over=True, failed=phase == "Failed", trouble=_last_words(status))
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or []), {})
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason", "")
    if reason in _HOPELESS:
        said = _sentence(str(waiting.get("message") or reason))
        return Sight(
            reason, trouble=f"Its container does not start ({reason}): {said}", hint=_HOPELESS[reason].format(name=name)
        )
    if "running" in state and status.get("podIP"):
        return Sight("its keeper is starting", address=str(status["podIP"]))
    return _pending(pod, events)


def _pending(pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Sight:
    conditions = {c["type"]: c for c in pod.get("status", {}).get("conditions") or []}
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        said = str(scheduled.get("message") or scheduled.get("reason") or "no reason is given")
        return Sight(
            f"no node takes it now: {said.rstrip('.')}",
            hint="Ask for less (cores, memory_bytes), or correct node_selector and tolerations in placement.yaml.",
        )
    if not scheduled:
        return Sight("it waits for a node")
    wrong = [e for e in events if e.get("type") == "Warning" and e.get("message")]
    if wrong:
        newest = max(wrong, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))
        return Sight(f"its node prepares it: {str(newest['message']).rstrip('.')}", hint="See the volumes it mounts.")
    node = pod["spec"].get("nodeName")
    return Sight(f"node {node} fetches its image and volumes" if node else "it was given a node")


def _last_words(status: Mapping[str, Any]) -> str:
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or []), {})
    ended = (container.get("state") or {}).get("terminated") or {}
    said = str(ended.get("message") or status.get("message") or "").strip()
    why = str(ended.get("reason") or status.get("reason") or "no reason given")
    code = ended.get("exitCode")
    end = f"{why}, exit code {code}" if code is not None else why
    tail = " ".join(said.splitlines()[-5:])[-500:]
    return f"It ended ({end}){': ' + tail if tail else ''}"


def _sentence(text: str) -> str:
    text = text.strip()[:400]
    return text if text.endswith((".", "!")) else f"{text}."
