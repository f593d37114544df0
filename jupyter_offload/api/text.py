"""The same words and columns at every door that prints text: notebook API and command line."""

from __future__ import annotations

from collections.abc import Sequence

from .models import Cluster, End, Phase, Profile, Site
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


def worker_size(profile: Profile) -> str:
    """Return ``1 core, 2 GiB`` of one worker."""
    return f"{profile.cores} core{'' if profile.cores == 1 else 's'}, {format_bytes(profile.memory_bytes)}"


def profiles(site: Site) -> str:
    """Return the profiles of a site in one cell, the default marked by a star."""
    default = site.default_profile or next((p.name for p in site.profiles), None)
    return "; ".join(f"{p.name}{'*' if p.name == default else ''} ({worker_size(p)})" for p in site.profiles)


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
