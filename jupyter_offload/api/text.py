"""The same words and columns at every door that prints text: notebook API and command line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .models import Cluster, End, Phase, Profile, Site, WorkerStage, WorkerState
from .units import format_bytes, format_duration

_ENDS = {"idle": "when idle", "lifetime": "end of its lifetime", "walltime": "end of its walltime"}


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as left-aligned columns, two spaces apart; the first row is the heading."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def one_line(content: str) -> str:
    """Return text without line breaks, for a cell of a table or a sentence on a card."""
    return " ".join(content.split())


def is_final(cluster: Cluster) -> bool:
    """Tell whether the cluster has ended for good."""
    return cluster.phase in (Phase.stopped, Phase.failed)


def workers(cluster: Cluster) -> str:
    """Return ``1 of 4``, with the range where the number adapts."""
    adaptive = cluster.spec.adaptive
    count = f"{cluster.workers.connected} of {cluster.workers.requested}"
    return count if adaptive is None else f"{count} (adaptive {adaptive.minimum} to {adaptive.maximum})"


def on_their_way(cluster: Cluster) -> str:
    """Return ``2 queued, 1 started, 3 lost`` of the workers at a remote site that are not connected; empty where there are none."""
    stages = [w.stage for w in cluster.worker_list if w.state is WorkerState.starting]
    told = [f"{stages.count(stage)} {stage.value}" for stage in WorkerStage if stage in stages]
    lost = sum(w.state is WorkerState.lost and w.stage is not None for w in cluster.worker_list)
    return ", ".join([*told, *([f"{lost} lost"] if lost else [])])


def worker_size(profile: Profile) -> str:
    """Return ``1 core, 2 GiB, 1 x A100`` of one worker."""
    size = f"{profile.cores} core{'' if profile.cores == 1 else 's'}, {format_bytes(profile.memory_bytes)}"
    return ", ".join([size, *(f"{a.count} x {a.model or a.resource}" for a in profile.accelerators)])


def profiles(site: Site) -> str:
    """Return the profiles of a site in one cell, the default marked by a star."""
    default = site.default_profile or next((p.name for p in site.profiles), None)
    return "; ".join(
        f"{p.name}{'*' if p.name == default else ''} ({worker_size(p)}{', not now' if p.name in site.unavailable else ''})"
        for p in site.profiles
    )


def accelerators(site: Site) -> str:
    """Return ``A100 9 of 12`` for each accelerator of a site; what nobody reports is unknown, never 0."""
    told = []
    for a in site.capacity.accelerators:
        free, total = ("unknown" if n is None else str(n) for n in (a.free, a.total))
        told.append(f"{a.title or a.model or a.resource} {free} of {total}")
    return "; ".join(told) or "-"


def heard(site: Site, now: datetime) -> str:
    """Return how long ago a remote site was heard, ``-`` where that is not known."""
    at = site.health.last_heard_at
    return "-" if at is None else f"{format_duration(max(0, round((now - at).total_seconds())))} ago"


def site_notes(site: Site) -> list[str]:
    """Return what else there is to know before a site is chosen, a sentence each."""
    notes = [f"{name} cannot be had now: {why}" for name, why in site.unavailable.items()]
    if not site.encrypted:
        notes.append("Not encrypted: clients, scheduler and workers there talk without TLS.")
    return notes


def end(value: End | None) -> str:
    """Return when and why the cluster will end by itself, in local time."""
    if value is None:
        return "none"
    return f"{value.at.astimezone():%Y-%m-%d %H:%M} ({_ENDS[value.because]})"


def progress(cluster: Cluster, elapsed_s: float) -> str:
    """Return the line that is shown while a person waits for this cluster."""
    return (
        f"{cluster.name}: {cluster.phase.value}, {workers(cluster)} workers, {format_duration(elapsed_s)}. "
        f"{cluster.reason.message}"
    )
