"""Summaries of repeated measurements. Medians, because a shared machine makes outliers upwards only."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """A median with its spread: half of the values lie between ``quarter`` and ``three_quarters``."""

    count: int
    median: float
    low: float
    high: float
    quarter: float
    three_quarters: float


def quantile(values: Sequence[float], fraction: float) -> float:
    """Return the value below which ``fraction`` of the values lie, interpolated (as ``numpy.quantile`` does).

    Raises:
        ValueError: there are no values, or the fraction is not between 0 and 1.
    """
    if not values:
        raise ValueError("there are no values to summarise")
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction {fraction} is not between 0 and 1")
    ordered = sorted(values)
    place = fraction * (len(ordered) - 1)
    below, above = math.floor(place), math.ceil(place)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def summarise(values: Sequence[float]) -> Summary:
    """Return the summary of at least one value."""
    return Summary(
        len(values), quantile(values, 0.5), min(values), max(values), quantile(values, 0.25), quantile(values, 0.75)
    )


def paired_ratios(values: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Return value over reference of the same round: what disturbed the machine then disturbed both.

    Raises:
        ValueError: the rounds do not match, or a reference is zero.
    """
    if len(values) != len(reference):
        raise ValueError(f"{len(values)} rounds cannot be paired with {len(reference)}")
    if not all(reference):
        raise ValueError("a reference value is zero")
    return [a / b for a, b in zip(values, reference, strict=True)]


def median_ratio(values: Sequence[float], reference: Sequence[float]) -> float:
    """Return the median of the same-round ratios."""
    return statistics.median(paired_ratios(values, reference))
