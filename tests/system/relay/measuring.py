"""Numbers that tests measured, for the summary at the end; none is asserted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

lines: list[str] = []


class Measure:
    """Notes how long something took, or another number."""

    def note(self, text: str) -> None:
        lines.append(text)

    @contextmanager
    def time(self, what: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.note(f"{what}: {time.monotonic() - begun:.2f} s")
