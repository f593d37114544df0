"""What a benchmark found, as Markdown for people and JSON for comparing runs."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from .stats import median_ratio, summarise

PACKAGES = ("jupyter_offload", "jupyter_server", "jupyterlab", "dask", "distributed", "uproot", "awkward", "numpy")
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Goal:
    """A promise: ``value`` should be at most (or at least) ``limit``. Stated, never asserted: machines differ."""

    what: str
    value: float
    limit: float
    at_least: bool = False
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def limit_text(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.limit:g}{' ' + self.unit if self.unit else ''}"


@dataclass
class Result:
    """Measurements of one part: ``values[case][metric]`` has one number per counted round."""

    part: str
    units: dict[str, str]
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, case: str, measured: Mapping[str, float]) -> None:
        for metric, value in measured.items():
            self.values.setdefault(case, {}).setdefault(metric, []).append(value)

    def median(self, case: str, metric: str) -> float | None:
        values = self.values.get(case, {}).get(metric)
        return summarise(values).median if values else None

    def goal(self, what: str, value: float | None, limit: float, *, at_least: bool = False, unit: str = "") -> None:
        """Note a goal; one whose figure is missing was not measured and is noted as a failure."""
        if value is None:
            self.failures.append(f"{what}: not measured")
        else:
            self.goals.append(Goal(what, value, limit, at_least, unit))

    def ratio(self, metric: str, case: str, reference: str) -> float | None:
        """Return the median of same-round ratios; None where a round is missing."""
        a, b = self.values.get(case, {}).get(metric, []), self.values.get(reference, {}).get(metric, [])
        return median_ratio(a, b) if a and len(a) == len(b) and all(b) else None


def interleave(
    cases: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int, result: Result, say: Callable[[str], None]
) -> None:
    """Run every case once a round, in reversed order every other round; round 0 warms up and is not counted.

    A case that fails is noted in the result and does not end the run; its round is missing in its values.
    """
    for number in range(rounds + 1):
        for case in list(cases) if number % 2 else list(cases)[::-1]:
            try:
                measured = cases[case]()
            except Exception as error:
                why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                result.failures.append(f"round {number}, {case}: {why}")
                say(f"  {number}/{rounds} {case}: {why}")
                continue
            shown = ", ".join(f"{metric} {value:.4g}" for metric, value in measured.items())
            say(f"  {number}/{rounds} {case}: {shown}{'' if number else '  (warm-up)'}")
            if number:
                result.add(case, measured)


def machine() -> dict[str, Any]:
    """Return what the figures were taken on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def markdown(about: Mapping[str, Any], results: Iterable[Result]) -> str:
    """Return the tables: the machine, then every part with its goals."""
    versions = ", ".join(f"{name} {value}" for name, value in about["versions"].items())
    lines = [
        f"Taken {about['taken_at']} on {about['cores']} cores ({about['processor']}), "
        f"{about['memory_bytes'] / 2**30:.0f} GiB, {about['system']}, Python {about['python']}; load before "
        f"{about['load_average'][0]:.1f}. {versions}.", "",
        "Medians over interleaved rounds; in brackets the quarter and three-quarter values.", "",
    ]  # fmt: skip
    for result in results:
        lines += [f"## {result.part}", "", *_table(result), ""]
        if result.goals:
            lines += ["| goal | measured | promised | met |", "|---|---|---|---|"]
            lines += [
                f"| {g.what} | {_number(g.value)}{' ' + g.unit if g.unit else ''} | {g.limit_text} | {'yes' if g.met else '**no**'} |"
                for g in result.goals
            ]
            lines.append("")
        lines += [f"- {note}" for note in result.notes]
        lines += [f"- Failed: {failure}" for failure in result.failures]
        lines.append("")
    return "\n".join(lines)


def _table(result: Result) -> list[str]:
    metrics = list(result.units)
    head = [f"{metric} [{unit}]" if (unit := result.units[metric]) else metric for metric in metrics]
    lines = [f"| case | n | {' | '.join(head)} |", "|---|---|" + "---|" * len(metrics)]
    for case, measured in result.values.items():
        cells = []
        for metric in metrics:
            if not measured.get(metric):
                cells.append("")
                continue
            s = summarise(measured[metric])
            spread = f" ({_number(s.quarter)}-{_number(s.three_quarters)})" if s.count > 1 else ""
            cells.append(f"{_number(s.median)}{spread}")
        count = max(len(values) for values in measured.values())
        lines.append(f"| {case} | {count} | {' | '.join(cells)} |")
    return lines


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def write(about: Mapping[str, Any], results: Iterable[Result], folder: Path = RESULTS) -> Path:
    """Write ``<time>.md`` and ``<time>.json`` and return the path of the Markdown."""
    results = list(results)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / about["taken_at"].replace(":", "")
    document = {"machine": about, "results": [dataclasses.asdict(result) for result in results]}
    stem.with_suffix(".json").write_text(json.dumps(document, indent=1))
    stem.with_suffix(".md").write_text(markdown(about, results))
    return stem.with_suffix(".md")
