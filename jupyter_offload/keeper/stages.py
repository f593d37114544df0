"""What the timeline tells of workers on their way at a remote site: each stage once, many at once as one. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ..api.models import TimelineEntry, Worker, WorkerStage, WorkerState
from .quoting import brief
from .store.records import utc

LOST = "lost"
#: How many workers an entry names.
_NAMED = 3
#: The scheduler's own events tell of workers that came.
_WORDS = {
    WorkerStage.submitted: "asked for",
    WorkerStage.scheduled: "given to the site's node",
    WorkerStage.accepted: "taken by the site",
    WorkerStage.queued: "in the queue of the site",
    WorkerStage.started: "started at the site",
}
_UNTOLD = frozenset({WorkerStage.registered, WorkerStage.proven})


def progress(
    told: Mapping[str, str], workers: Sequence[Worker], now: float
) -> tuple[dict[str, str], list[TimelineEntry]]:
    """Return the stage of each worker, and entries for those that changed.

    Args:
        told: stages by worker, as this returned them the last time.
        workers: as the site shows them now; those without a stage are none of a remote site.
        now: seconds since the epoch.
    """
    stages = {w.name: LOST if w.state is WorkerState.lost else w.stage.value for w in workers if w.stage is not None}
    changed = [w for w in workers if w.name in stages and stages[w.name] != told.get(w.name)]
    return stages, list(_entries([w for w in changed if not _was_further(told.get(w.name), w)], now))


def _was_further(told: str | None, worker: Worker) -> bool:
    """Tell whether a worker only seems to be back where it was, because its scheduler does not answer just now."""
    return told in _UNTOLD and worker.state is not WorkerState.lost


def _entries(changed: Sequence[Worker], now: float) -> Iterator[TimelineEntry]:
    groups: defaultdict[tuple[object, ...], list[Worker]] = defaultdict(list)
    for worker in changed:
        if worker.state is WorkerState.lost:
            groups[LOST, worker.code].append(worker)
        elif worker.stage not in _UNTOLD:
            groups[worker.stage, worker.code if worker.stage is WorkerStage.queued else None].append(worker)
    for group in groups.values():
        yield _entry(group, now)


def _entry(group: Sequence[Worker], now: float) -> TimelineEntry:
    first = group[0]
    who = f"{len(group)} workers" if len(group) > _NAMED else ", ".join(_named(w) for w in group)
    verb = "is" if len(group) == 1 else "are"
    name = first.name if len(group) == 1 else None
    messages = Counter(w.message for w in group if w.message)
    said = f": {brief(messages.most_common(1)[0][0])}" if messages else "."
    if first.state is WorkerState.lost:
        code = first.code.value if first.code else "worker-lost"
        return TimelineEntry(at=utc(now), level="warning", code=code, message=f"{who} {verb} lost{said}", worker=name)
    assert first.stage is not None
    return TimelineEntry(
        at=utc(now),
        code=f"worker-{first.stage.value}",
        message=f"{who} {verb} {_WORDS[first.stage]}{said}",
        worker=name,
    )


def _named(worker: Worker) -> str:
    return f"{worker.name} ({worker.site_id})" if worker.site_id else worker.name
