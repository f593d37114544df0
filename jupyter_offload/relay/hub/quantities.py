"""Durations as people write them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_UNITS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) *(s|min|h|d|)\Z")


def seconds(value: Any) -> Any:
    """Return ``"2 h"`` as seconds; whatever is no text is for pydantic to judge."""
    if not isinstance(value, str):
        return value
    found = _DURATION.match(value.strip())
    if found is None:
        raise ValueError(f"{value!r} is no duration; write seconds, or for example 30 s, 10 min, 1 h")
    return float(found[1]) * _UNITS[found[2]]


#: At most a year, which no clock and no timer is troubled by.
Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=31_536_000)]
