"""Becoming a daemon: detach, one lock per host and data dir, a private log. Standard library only, so that it is quick."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import logging.handlers
import os
import socket
import sys
import time
from pathlib import Path
from typing import IO

LOCK_TIMEOUT_S = 15.0
LOG_BYTES = 2**20
LOG_FILES = 3


def detach() -> bool:
    """Fork twice into a session of its own; True in the process that goes on, False in the one that was called.

    Must be called before anything starts a thread.
    """
    middle = os.fork()
    if middle:
        os.waitpid(middle, 0)
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    return True


def lock(path: Path, keeper_socket: Path) -> IO[str] | None:
    """Return the held lock file, or None when another keeper runs and answers.

    A keeper that is handing over holds the lock for a moment after its socket is closed; that is waited for.
    """
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _listens(keeper_socket) or time.monotonic() > deadline:
                file.close()
                return None
            time.sleep(0.02)
            continue
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        return file


def _listens(path: Path) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def log_to(path: Path | None) -> None:
    """Log to a rotating private file, or to the standard error where there is none."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    level = os.environ.get("JUPYTER_OFFLOAD_LOG_LEVEL", "INFO").upper()
    logging.basicConfig(level=getattr(logging, level, logging.INFO), handlers=[handler])
    for chatty in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
