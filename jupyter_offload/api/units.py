"""Human quantities, parsed once at the edge; everything behind it carries its unit in the name."""

from __future__ import annotations

import re
from fractions import Fraction

_BYTES = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12,
    "ki": 2**10, "kib": 2**10, "mi": 2**20, "mib": 2**20, "gi": 2**30, "gib": 2**30, "ti": 2**40, "tib": 2**40,
}  # fmt: skip
_SECONDS = {"": 1, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_QUANTITY = re.compile(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([A-Za-z]*)\s*\Z")


def _parse(value: object, units: dict[str, int], what: str, example: str) -> int:
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value!r} is not {what}; write for example {example}")
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    match = _QUANTITY.match(value) if isinstance(value, str) else None
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{value!r} is not {what}; write for example {example}")
    return int(Fraction(match[1]) * units[match[2].lower()])


def parse_bytes(value: object) -> int:
    """Return bytes from ``4 GiB``, ``512MB`` or a plain number.

    Raises:
        ValueError: the text is no amount of memory; the message names the value and shows one that is.
    """
    return _parse(value, _BYTES, "an amount of memory", "'4 GiB' or '512 MB'")


def parse_duration_s(value: object) -> int:
    """Return seconds from ``90 min``, ``2 h`` or a plain number of seconds.

    Raises:
        ValueError: the text is no duration; the message names the value and shows one that is.
    """
    return _parse(value, _SECONDS, "a duration", "'30 min' or '2 h'")


def format_bytes(value: int) -> str:
    """Return a short binary amount such as ``4 GiB`` (bytes in)."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{_short(amount)} {unit}"
        amount /= 1024
    return f"{_short(amount)} TiB"


def _short(amount: float) -> str:
    return f"{amount:.0f}" if amount >= 100 else f"{amount:.3g}"


def format_duration(seconds: float) -> str:
    """Return a short duration such as ``1 h 5 min`` (seconds in)."""
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    shown = [f"{n} {unit}" for n, unit in parts if n]
    return " ".join(shown[:2]) or "0 s"
