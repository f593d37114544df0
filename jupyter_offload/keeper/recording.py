"""From a decision to the changed record and its timeline entries: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..api.models import Desired, Phase, Reason, ReasonCode, TimelineEntry
from .lifecycle import NOTICES, Action, Do, Observation, count_connected, count_starting, notice_of
from .quoting import shortened
from .schedulers import SchedulerSeen
from .stages import progress
from .store.records import Notice, Record, utc

Level = Literal["info", "warning", "error"]
_WARNINGS = frozenset({
    ReasonCode.node_not_ready, ReasonCode.access_denied, ReasonCode.quota_exceeded,
    ReasonCode.site_refused, ReasonCode.site_silent, ReasonCode.image_failed, ReasonCode.workers_failing,
    ReasonCode.cannot_see, ReasonCode.other_host, ReasonCode.site_missing, ReasonCode.relay_refused,
    ReasonCode.relay_unreachable,
})  # fmt: skip
#: Reasons that only restate an event, which has an entry of its own.
_SAID_BY_EVENT = NOTICES | {ReasonCode.module_failed}


def entry(at: float, reason: Reason, level: Level = "info") -> TimelineEntry:
    """Return a timeline entry that tells a reason."""
    return TimelineEntry(at=utc(at), level=level, code=reason.code.value, message=reason.message)


def apply(
    record: Record, action: Action, seen: SchedulerSeen, observation: Observation, now: float
) -> tuple[Record, list[TimelineEntry]]:
    """Return the record after a decision and what to write into its timeline; the same object if nothing changed."""
    entries = _events(record, seen.status)
    changes: dict[str, Any] = {
        "phase": action.phase,
        "reason": action.reason,
        "desired": action.desired,
        "workers_requested": action.workers,
        "supervisor": seen.supervisor or record.supervisor,
        "scheduler": seen.scheduler or record.scheduler,
        "scheduler_address": seen.address or record.scheduler_address,
        "notice": _notice(record, seen.status),
        "failed_modules": _failed_modules(record, seen.status),
    }
    if action.phase is not record.phase:
        changes["phase_since"] = now
    if action.desired is Desired.stopped and record.stop_reason is None:
        changes["stop_reason"] = action.reason
    if action.do is Do.launch:
        changes["launched_at"] = now
    if action.phase in (Phase.stopped, Phase.failed):
        changes |= {"workers_starting": 0, "workers_connected": 0}
    elif observation.workers.visible:
        changes["stages"], told_of_workers = progress(record.stages, observation.workers.workers, now)
        entries += told_of_workers
        changes["workers_starting"] = count_starting(observation.workers)
        changes["workers_connected"] = count_connected(observation.workers)
        changes["asked_anew"] = observation.workers.halted and (
            record.asked_anew or action.workers != record.workers_requested
        )
    events = (seen.status or {}).get("events") or ()
    changes["last_event"] = max([record.last_event, *(int(e["sequence"]) for e in events)])
    differing = {k: v for k, v in changes.items() if getattr(record, k) != v}
    if action.reason.code is not record.reason.code and not _said(action.reason, seen.status):
        told = entry(now, action.reason, _level(action))
        entries.append(told.model_copy(update={"message": action.detail}) if action.detail else told)
    return (record.model_copy(update=differing) if differing else record), entries


def _said(reason: Reason, status: Mapping[str, Any] | None) -> bool:
    """Whether an event tells the same: also that the relay is away, where the scheduler noticed it."""
    noticed = reason.code is ReasonCode.relay_unreachable and ((status or {}).get("relay") or {}).get("problem")
    return reason.code in _SAID_BY_EVENT or bool(noticed)


def _level(action: Action) -> Level:
    if action.phase is Phase.failed:
        return "error"
    return "warning" if action.reason.code in _WARNINGS else "info"


def _new_events(record: Record, status: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    events = (status or {}).get("events") or ()
    return [e for e in events if int(e["sequence"]) > record.last_event]


def _events(record: Record, status: Mapping[str, Any] | None) -> list[TimelineEntry]:
    return [
        TimelineEntry(
            at=utc(float(e["at"])),
            level=e["level"] if e.get("level") in ("info", "warning", "error") else "info",
            code=str(e["code"]),
            message=str(e.get("message") or e["code"]),
            worker=e.get("worker"),
        )
        for e in _new_events(record, status)
    ]


def _notice(record: Record, status: Mapping[str, Any] | None) -> Notice | None:
    notice = record.notice
    for event in _new_events(record, status):
        at = float(event["at"])
        reason = notice_of(
            str(event["code"]), str(event.get("message") or ""), event.get("worker"), record.profile.memory_bytes
        )
        if reason is None:
            continue
        # A worker over its memory is restarted: the cause is worth more than the consequence.
        known = notice is not None and notice.reason.code is ReasonCode.worker_over_memory and at - notice.at < 30
        if not (known and reason.code is ReasonCode.worker_restarted):
            notice = Notice(at=at, reason=reason)
    return notice


def _failed_modules(record: Record, status: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the extra modules that cannot be imported, each with the first cause told; they stay so."""
    failed = dict(record.failed_modules)
    for event in _new_events(record, status):
        if event["code"] != ReasonCode.module_failed.value:
            continue
        for module in record.spec.modules:
            said = re.search(rf" {re.escape(module)}: (.*)", str(event.get("message")), re.DOTALL)
            if said is not None:
                failed.setdefault(module, shortened(said[1].partition(" Install what provides")[0]))
    return failed
