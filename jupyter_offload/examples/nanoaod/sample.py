"""What to write, checked: a sample is a number of files of one format, made from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FORMATS = ("ttree", "rntuple")
#: Highest level of each compression; ``none`` takes no level.
COMPRESSION_LEVELS = {"zstd": 22, "lz4": 12, "zlib": 9, "lzma": 9}
MAXIMUM_EVENTS = 10_000_000_000
MAXIMUM_FILES = 10_000


class SampleExists(Exception):
    """A file of the wanted name holds something else; the message says what differs and how to go on."""


@dataclass(frozen=True)
class Sample:
    """What to write. ``events`` is the total over all ``files``; the events depend on the seed, not on format or compression.

    Raises:
        ValueError: a value is out of range; the message names the field, the value and what is allowed.
    """

    events: int = 2_000_000
    files: int = 4
    format: str = "ttree"
    compression: str = "zstd:5"
    seed: int = 1
    z_fraction: float = 0.5

    def __post_init__(self) -> None:
        _whole("events", self.events, 1, MAXIMUM_EVENTS)
        _whole("files", self.files, 1, min(self.events, MAXIMUM_FILES))
        _whole("seed", self.seed, 0, 2**63 - 1)
        if self.format not in FORMATS:
            raise ValueError(f"format {self.format!r} is unknown; choose one of {', '.join(FORMATS)}")
        if not 0 <= self.z_fraction <= 1:
            raise ValueError(f"z_fraction {self.z_fraction!r} is not between 0 and 1; write for example 0.5")
        _ = self.compression_level

    @property
    def compression_level(self) -> tuple[str, int]:
        """Return the name of the compression and its level; ``("none", 0)`` for uncompressed files."""
        name, _, level = self.compression.partition(":")
        if self.compression == "none":
            return name, 0
        if name not in COMPRESSION_LEVELS:
            known = ", ".join([*COMPRESSION_LEVELS, "none"])
            raise ValueError(f"compression {self.compression!r} is unknown; choose one of {known}, for example zstd:5")
        highest = COMPRESSION_LEVELS[name]
        if not (level or "1").isdecimal() or not 1 <= int(level or 1) <= highest:
            raise ValueError(f"compression {self.compression!r}: the level of {name} is a number from 1 to {highest}")
        return name, int(level or 1)

    def parts(self) -> list[Part]:
        """Return the files of this sample, as even in size as possible."""
        size, rest = divmod(self.events, self.files)
        parts, first = [], 0
        for index in range(self.files):
            events = size + (index < rest)
            parts.append(Part(self, index, first, events))
            first += events
        return parts


@dataclass(frozen=True)
class Part:
    """One file of a sample: events ``first_event`` to ``first_event + events - 1``."""

    sample: Sample
    index: int
    first_event: int
    events: int

    @property
    def file_name(self) -> str:
        """Return the name below the sample's folder."""
        return f"zmumu-{self.sample.format}-{self.index + 1:03d}.root"

    def provenance(self, content_version: int) -> dict[str, Any]:
        """Return what is stored inside the file, so that a later run can tell whether it is the one wanted."""
        return {
            "generator": "jupyter_offload.examples.nanoaod",
            "content_version": content_version,
            "seed": self.sample.seed,
            "z_fraction": self.sample.z_fraction,
            "compression": self.sample.compression,
            "file": self.index,
            "first_event": self.first_event,
            "events": self.events,
        }


def _whole(field: str, value: int, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ValueError(f"{field} {value!r} is not a whole number from {lowest} to {highest}")
