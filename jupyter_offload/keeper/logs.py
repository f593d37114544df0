"""Logs of a cluster: files that stay when their process is gone. Blocking: use a thread."""

from __future__ import annotations

from pathlib import Path

from ..api.models import LogChunk, LogSource, LogSources
from ..api.problems import NotFound, ProblemCode
from .store.records import Record, utc

CHUNK_LIMIT = 2**20
CHUNK_DEFAULT = 64 * 1024


def _folder(record: Record) -> Path:
    return Path(record.folder) / "logs"


def sources(record: Record) -> LogSources:
    """Return which logs there are: supervisor and scheduler first, then the workers."""
    found = []
    folder = _folder(record)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_symlink() or not path.is_file():
            continue
        name = path.stem if path.suffix == ".log" else path.name
        role = name if name in ("supervisor", "scheduler") else "worker"
        seen = path.stat()
        found.append(LogSource.model_validate(
            {"name": name, "role": role, "size_bytes": seen.st_size, "modified_at": utc(seen.st_mtime)}
        ))  # fmt: skip
    order = {"supervisor": 0, "scheduler": 1, "worker": 2}
    return LogSources(sources=sorted(found, key=lambda s: (order[s.role], len(s.name), s.name)))


def read(record: Record, source: str, offset: int | None, limit: int | None) -> LogChunk:
    """Return a piece of one log. A negative ``offset`` counts from the end; without one, the end is returned.

    Raises:
        NotFound: there is no such log.
    """
    names = [s.name for s in sources(record).sources]
    if source not in names:
        raise NotFound(
            ProblemCode.unknown_log, f"Cluster {record.name!r} has no log {source!r}.", field="source",
            hint=f"There are: {', '.join(names)}" if names else "It wrote no log yet.",
        )  # fmt: skip
    limit = min(max(limit if limit is not None else CHUNK_DEFAULT, 1), CHUNK_LIMIT)
    path = _folder(record) / f"{source}.log"
    with (path if path.exists() else _folder(record) / source).open("rb") as file:
        size = file.seek(0, 2)
        if offset is None:
            offset = -limit
        start = min(offset, size) if offset >= 0 else max(0, size + offset)
        file.seek(start)
        data = file.read(limit)
    # Do not cut a character in two: what is left of it comes with the next piece.
    if start + len(data) < size:
        data = data[: _whole(data)] or data
    return LogChunk(
        source=source, offset=start, next_offset=start + len(data), size_bytes=size, text=data.decode(errors="replace")
    )


def _whole(data: bytes) -> int:
    """Return how many bytes of ``data`` end with a complete UTF-8 character."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:  # a first byte: does its character end within the data?
            length = 1 if byte < 0x80 else 2 if byte >> 5 == 0b110 else 3 if byte >> 4 == 0b1110 else 4
            return len(data) - back if length > back else len(data)
    return len(data)
