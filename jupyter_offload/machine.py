"""What this process may use of the machine: cores and memory within its affinity and control groups.

Dask knows part of this, but importing it costs over a second and it reads only the root of the control groups, so that the
limits of a batch job, a Hub user's slice or a nested container escape it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return how many cores this process may keep busy, at least 1."""
    try:
        cores = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # macOS
        cores = float(os.cpu_count() or 1)
    for folder in _folders("cpu", cgroups, membership):
        quota = _cpu_quota(folder)
        if quota is not None:
            cores = min(cores, quota)
    return max(1, int(cores))


def usable_memory_bytes(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return how much memory this process may use, in bytes; swap does not count."""
    limit = int(psutil.virtual_memory().total)
    for folder in _folders("memory", cgroups, membership):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit() and int(text) > 0:
                limit = min(limit, int(text))
    return limit


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""


def _cpu_quota(folder: Path) -> float | None:
    """Return the cores that this control group may use (v2: ``cpu.max``; v1: quota and period)."""
    words = _read(folder / "cpu.max").split() or [
        _read(folder / "cpu.cfs_quota_us"),
        _read(folder / "cpu.cfs_period_us"),
    ]
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]) > 0:
        return int(words[0]) / int(words[1])
    return None


def _folders(controller: str, cgroups: Path, membership: Path) -> Iterator[Path]:
    """Yield this process's control group and all above it, for that controller, in both versions of the hierarchy.

    Inside a container the path of the host may not exist; its root is then what limits us, and is always looked at.
    """
    for line in _read(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            roots = [cgroups, cgroups / "unified"]
        elif controller in controllers.split(","):
            roots = [cgroups / controllers, cgroups / controller]
        else:
            continue
        parts = [p for p in path.split("/") if p not in ("", "..")]
        for root in roots:
            for depth in range(len(parts), -1, -1):
                yield root.joinpath(*parts[:depth])
