"""What to do next about one cluster: pure, no input or output, tested as a table.

    pending -> starting -> running -> stopping -> stopped        (desired: stopped, idle, lifetime, end of the server)
         \\________\\__________\\____________\\-> failed              (scheduler or supervisor died, host restarted ...)

``stopped`` and ``failed`` are final. What cannot be seen changes no phase: only what is known to be gone does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..api.models import Desired, End, Phase, Reason, ReasonCode, WorkerState
from ..api.units import format_bytes, format_duration
from ..ports import WorkersSeen
from .quoting import brief
from .store.records import Record, utc

#: Reasons that restate an event of a worker.
NOTICES = frozenset({ReasonCode.worker_restarted, ReasonCode.worker_over_memory, ReasonCode.workers_failing})
#: Reasons that give way when nobody can come through the relay: it explains them.
_EXPLAINED_BY_RELAY = frozenset({
    ReasonCode.waiting_for_workers, ReasonCode.some_workers, ReasonCode.all_workers,
})  # fmt: skip
NOT_SEEN = WorkersSeen(visible=False)


class Sight(StrEnum):
    """What can be seen of a cluster's scheduler process."""

    nothing = "nothing"  # never launched
    starting = "starting"  # launched, not listening yet
    ready = "ready"  # it answers
    silent = "silent"  # alive, or nobody can tell, and it does not answer
    exited = "exited"  # it left exit.json
    gone = "gone"  # the supervisor is not there and left no word
    host_restarted = "host-restarted"  # the boot or the container it ran in is over
    other_host = "other-host"  # its processes are on another host


@dataclass(frozen=True)
class Exit:
    """What the supervisor left in ``exit.json``."""

    code: str
    message: str


@dataclass(frozen=True)
class Observation:
    """What was seen of one cluster. ``held`` is how many workers the site holds or aims at, None if unknown."""

    sight: Sight
    exit: Exit | None = None
    scheduler_address: str | None = None
    idle_since: float | None = None
    adaptive_target: int | None = None
    #: since when the adaptive target lies below what is held; scaling down waits, so that it does not flap
    surplus_since: float | None = None
    held: int | None = None
    workers: WorkersSeen = NOT_SEEN
    site_known: bool = True
    launch_error: Reason | None = None
    #: why workers that come through a relay wait
    relay: Reason | None = None
    #: why the end of a cluster takes long
    ending: Reason | None = None
    #: of a scheduler that the site runs: why it is not ready, or cannot be reached or seen from here
    scheduler_problem: Reason | None = None


class Do(StrEnum):
    """What the loop does; each is safe to do again."""

    nothing = "nothing"
    launch = "launch"
    submit = "submit"
    end = "end"


@dataclass(frozen=True)
class Action:
    """The decision: what the record says from now on, and what to do.

    ``workers`` is the number wanted; ``detail`` what the timeline says where that is more than the reason.
    """

    do: Do
    phase: Phase
    reason: Reason
    desired: Desired
    workers: int
    detail: str | None = None


@dataclass(frozen=True)
class Limits:
    """Knobs of the lifecycle, in seconds."""

    start_timeout_s: float = 120
    surplus_hold_s: float = 10
    first_look_s: float = 10
    notice_s: float = 300


def next_action(record: Record, seen: Observation, now: float, limits: Limits = Limits()) -> Action:
    """Return what to do about a cluster. ``now`` is in seconds since the epoch."""
    if record.finished:
        do = Do.nothing if record.cleaned or seen.sight is Sight.other_host else Do.end
        return Action(do, record.phase, record.reason, record.desired, record.workers_requested)
    if seen.sight is Sight.other_host:
        return _stay(record, _other_host(record))
    if record.desired is Desired.stopped:
        return _stopping(record, seen.ending if record.stop_reason is not None else None)
    over = _over(record, seen, now, limits)
    if over is not None:
        return over
    ending = _ending(record, seen, now)
    if ending is not None:
        return _stopping(record, ending)
    if seen.sight is Sight.nothing:
        why = seen.scheduler_problem or _starting()
        return Action(Do.launch, Phase.starting, why, record.desired, initial_workers(record))
    if seen.sight is Sight.starting:
        return _stay(record, seen.scheduler_problem or _starting(), Phase.starting)
    if seen.sight is Sight.silent:
        return _stay(record, seen.scheduler_problem or _cannot_see(record))
    return _running(record, seen, now, limits)


# ---------------------------------------------------------------- ends
def _fail(record: Record, reason: Reason, detail: str | None = None) -> Action:
    return Action(Do.end, Phase.failed, reason, record.desired, record.workers_requested, detail)


def _stopping(record: Record, reason: Reason | None = None) -> Action:
    why = record.stop_reason or reason or STOP_REQUESTED
    if record.cleaned:
        return Action(Do.nothing, Phase.stopped, why, Desired.stopped, 0)
    reason = reason or why
    return Action(Do.end, Phase.stopping, reason, Desired.stopped, 0)


STOP_REQUESTED = Reason(code=ReasonCode.stop_requested, message="You asked to stop it.")


def _over(record: Record, seen: Observation, now: float, limits: Limits) -> Action | None:
    """Return the action for a scheduler that is known to be over, or never came."""
    if seen.launch_error is not None:
        return _fail(record, seen.launch_error)
    gone = seen.sight in (Sight.gone, Sight.host_restarted)
    if gone and record.ends_with_server:
        return _stopping(record, SERVER_ENDED)
    if seen.sight is Sight.host_restarted:
        return _fail(record, _reason("host_restarted", f"The host {record.host} restarted, and with it every process of"
                                     " the cluster ended.", START_AGAIN))  # fmt: skip
    if seen.sight is Sight.gone:
        return _fail(record, _reason("supervisor_died", "The cluster's supervisor process was killed, and its scheduler and"
                                     " workers ended with it.", "Look at the supervisor's log; the system kills processes"
                                     " when memory runs out. " + START_AGAIN))  # fmt: skip
    if seen.sight is Sight.exited and seen.scheduler_problem is not None:
        return _fail(record, seen.scheduler_problem)
    if seen.sight is Sight.exited and seen.exit is not None:
        return _exited(record, seen.exit)
    if record.own_scheduler:
        return None  # the site has deadlines of its own
    late = record.launched_at is not None and now - record.launched_at > limits.start_timeout_s
    if seen.sight is Sight.starting and late:
        return _fail(record, _reason("scheduler_start_timeout", "The scheduler did not listen within "
                                     f"{format_duration(limits.start_timeout_s)}.", "Look at the scheduler's log; a slow"
                                     " file system or an import that hangs are the usual causes. " + START_AGAIN))  # fmt: skip
    return None


def _exited(record: Record, left: Exit) -> Action:
    if left.code == ReasonCode.deleted_at_site:
        return _stopping(record, _reason(
            "deleted_at_site", "It was deleted at the site: by other means, or because it was idle for too long.", START_AGAIN
        ))  # fmt: skip
    if left.code == "stopped":
        return _stopping(
            record, _reason("stop_requested", "It was shut down from inside, by client.shutdown() or alike.")
        )
    if left.code == "scheduler-start-failed":
        told = f"The scheduler could not start: {left.message}"
        return _fail(record, _reason("scheduler_start_failed", brief(told), "Look at the scheduler's log."), told)
    told = f"The scheduler process died: {left.message}"
    return _fail(record, _reason("scheduler_died", brief(told), "Look at the scheduler's log; the system kills processes"
                                 " when memory runs out. " + START_AGAIN), told)  # fmt: skip


def end_of(record: Record, idle_since: float | None) -> End | None:
    """Return when and why this cluster ends by itself, if it does."""
    ends: list[End] = []
    if record.spec.lifetime_s:
        ends.append(End(at=utc(record.created_at + record.spec.lifetime_s), because="lifetime"))
    if record.spec.idle_timeout_s and idle_since is not None:
        ends.append(End(at=utc(idle_since + record.spec.idle_timeout_s), because="idle"))
    return min(ends, key=lambda e: e.at, default=None)


def _ending(record: Record, seen: Observation, now: float) -> Reason | None:
    end = end_of(record, seen.idle_since)
    if end is None or end.at.timestamp() > now:
        return None
    if end.because == "idle":
        idle = format_duration(record.spec.idle_timeout_s or 0)
        return _reason("idle_timeout", f"No task ran for {idle}, the idle timeout of this cluster.", START_AGAIN)
    lifetime = format_duration(record.spec.lifetime_s or 0)
    return _reason("lifetime_over", f"Its lifetime of {lifetime} was over.", START_AGAIN)


# ---------------------------------------------------------------- alive
def initial_workers(record: Record) -> int:
    """Return how many workers to start with."""
    adaptive = record.spec.adaptive
    if adaptive is None:
        return record.spec.workers
    return min(max(record.spec.workers, adaptive.minimum), adaptive.maximum)


def _wanted(record: Record, seen: Observation, now: float, limits: Limits) -> int:
    adaptive = record.spec.adaptive
    if adaptive is None:
        return record.spec.workers
    held = min(max(record.workers_requested, adaptive.minimum), adaptive.maximum)
    if seen.adaptive_target is None:
        return held
    target = min(max(seen.adaptive_target, adaptive.minimum), adaptive.maximum)
    surplus = seen.surplus_since is not None and now - seen.surplus_since >= limits.surplus_hold_s
    return target if target > held or surplus else held


def _running(record: Record, seen: Observation, now: float, limits: Limits) -> Action:
    wanted = _wanted(record, seen, now, limits)
    connected = count_connected(seen.workers)
    begun = record.phase is Phase.running or connected > 0 or wanted == 0
    phase = Phase.running if begun else Phase.starting
    if not seen.site_known:
        return Action(Do.nothing, phase, _site_missing(record), record.desired, record.workers_requested)
    # A notice says why workers are missing, but never hides that the site shows none for another reason.
    failing = record.notice is not None and record.notice.reason.code is ReasonCode.workers_failing
    if failing and record.notice is not None and connected == 0 and not begun:
        return _fail(record, record.notice.reason)
    if seen.workers.halted and seen.workers.problem is not None and connected == 0 and not begun:
        return _fail(record, seen.workers.problem)
    may = not seen.workers.halted or record.asked_anew or wanted != record.workers_requested
    do = Do.submit if seen.held is not None and seen.held != wanted and may else Do.nothing
    reason = _counts(connected, wanted, seen.workers.problem)
    new = phase is not Phase.running and now - (record.launched_at or now) < limits.first_look_s
    if not seen.workers.visible and not new:  # a site that was not looked at yet has not failed to answer
        reason = _reason("cannot_see", "The site does not answer, so the number of workers is not known now.")
    elif record.notice is not None:
        recent = now - record.notice.at < limits.notice_s and not failing
        if recent or (failing and connected < wanted):
            reason = record.notice.reason
    way = seen.relay or seen.scheduler_problem
    unused = seen.relay is None and reason.code is ReasonCode.no_workers_requested
    if way is not None and (unused or reason.code in _EXPLAINED_BY_RELAY):
        reason = way
    stands_out = reason.code not in (ReasonCode.cannot_see, *NOTICES) and reason is not way
    if record.failed_modules and stands_out and not (seen.workers.problem and connected < wanted):
        reason = _module_failed(record)
    return Action(do, phase, reason, record.desired, wanted)


def count_connected(seen: WorkersSeen) -> int:
    """Return how many workers are connected; a paused one is."""
    return sum(w.state in (WorkerState.connected, WorkerState.paused) for w in seen.workers)


def count_starting(seen: WorkersSeen) -> int:
    """Return how many workers are on their way."""
    return sum(w.state is WorkerState.starting for w in seen.workers)


def _counts(connected: int, wanted: int, problem: Reason | None) -> Reason:
    if wanted == 0:
        return _reason("no_workers_requested", "No workers are asked for.", "Scale it up to compute.")
    if connected >= wanted:
        return _reason("all_workers", f"{_workers(wanted)} connected.")
    code = "some_workers" if connected else "waiting_for_workers"
    message = f"{connected} of {_workers(wanted)} connected." if connected else f"Waiting for {_workers(wanted)}."
    if problem is None:
        return _reason(code, message)
    if connected:
        missing = wanted - connected
        message = f"{missing} of {_workers(wanted)} {'is' if missing == 1 else 'are'} missing."
    return Reason(code=problem.code, message=f"{message} {problem.message}", hint=problem.hint)


# ---------------------------------------------------------------- sentences
START_AGAIN = "Start again to get a new cluster of the same kind."
SERVER_ENDED = Reason(
    code=ReasonCode.server_ended, message="The Jupyter server ended, and everything under it with it.", hint=START_AGAIN
)


def _reason(code: str, message: str, hint: str | None = None) -> Reason:
    return Reason(code=ReasonCode[code], message=message, hint=hint)


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"


def _starting() -> Reason:
    return _reason("scheduler_starting", "The Dask scheduler is starting.")


def _cannot_see(record: Record) -> Reason:
    return _reason(
        "cannot_see", "The scheduler process is there but does not answer; it may be very busy. Nothing was ended.",
        f"If it stays so, look at the scheduler's log or stop {record.name}.",
    )  # fmt: skip


def _other_host(record: Record) -> Reason:
    ends = record.desired is Desired.stopped
    message = f"It belongs to the host {record.host}, which cannot be seen from here."
    hint = (
        "The keeper there stops it. Delete it once more to forget it here."
        if ends
        else f"Look at it from {record.host}."
    )
    return _reason("other_host", message, hint)


def _site_missing(record: Record) -> Reason:
    return _reason(
        "site_missing", f"The site {record.spec.site!r} is not declared any more; its workers are not looked after.",
        "Bring the site's file back, or stop the cluster. See: jupyter offload sites check",
    )  # fmt: skip


def _module_failed(record: Record) -> Reason:
    names, why = list(record.failed_modules), next(iter(record.failed_modules.values()))
    message = f"The extra module {names[0]} cannot be imported: {why}"
    if len(names) > 1:
        message = f"The extra modules {', '.join(names)} cannot be imported; the first one because of {why}"
    return _reason(
        "module_failed", message, f"Install what provides {'it' if len(names) == 1 else 'them'} for {record.python} and start"
        " again, or make a new cluster with the right name of the module.",
    )  # fmt: skip


def _stay(record: Record, reason: Reason, phase: Phase | None = None) -> Action:
    return Action(Do.nothing, phase or record.phase, reason, record.desired, record.workers_requested)


def notice_of(code: str, message: str, worker: str | None, memory_bytes: int) -> Reason | None:
    """Return the reason that a worker's event gives the card, if it is worth one."""
    name = f"Worker {worker}" if worker else "A worker"
    message = brief(message)
    if code == "worker-over-memory":
        return _reason("worker_over_memory", message or f"{name} went over its memory limit and was restarted.",
                       f"Each worker has {format_bytes(memory_bytes)}. Ask for more memory a worker, or for smaller"
                       " pieces of data.")  # fmt: skip
    if code == "worker-restarted":
        return _reason("worker_restarted", message or f"{name} died and was started again.", "Look at its log.")
    if code == "workers-failing":
        return _reason("workers_failing", message or "Workers died again and again while starting.",
                       f"Look at the log of {worker or 'a worker'}, mend the cause, then scale again or start again.")  # fmt: skip
    return None
