"""Amounts as Kubernetes writes them: ``500m``, ``16000Gi``, ``3000G``, ``1e3``. Pure.

Syntax: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import ROUND_FLOOR, Decimal

_SUFFIXES = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?[0-9]{1,40}(?:\.[0-9]{0,40})?(?:[eE][+-]?[0-9]{1,2})?)([A-Za-z]{0,2})\Z")


def parse_quantity(value: object) -> Decimal | None:
    """Return an amount in its base unit (cores, bytes, pieces), None for what is no amount."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        value = str(value)
    match = _QUANTITY.match(value.strip()) if isinstance(value, str) else None
    if match is None or match[2] not in _SUFFIXES:
        return None
    return Decimal(match[1]) * _SUFFIXES[match[2]]


def whole(value: object) -> int | None:
    """Return whole cores, bytes or pieces, rounded down and never below none; None for what is no amount."""
    amount = parse_quantity(value)
    if amount is None or not amount.is_finite():
        return None
    return max(0, int(amount.to_integral_value(ROUND_FLOOR)))
