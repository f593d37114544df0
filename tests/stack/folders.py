"""Where the stack keeps its programs and, unless told otherwise, its state: in the user's cache, never in the checkout."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def cache_folder() -> Path:
    """Return the stack's folder, private to the user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "jupyter-offload" / "stack"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def state_folder(part: str) -> Path:
    """Return where a part lives that is started by hand (not created)."""
    return cache_folder() / "run" / part


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock among this user's processes; waits for whoever has it, who is ended by a timeout of their own."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
