"""What systemd is told, where it listens (``sd_notify``)."""

from __future__ import annotations

import contextlib
import os
import socket
import time


def notify(*lines: str) -> None:
    """Send states such as ``READY=1``; nothing where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        out.sendto("\n".join(lines).encode(), address.replace("@", "\0", 1))


def notify_reloading() -> None:
    """Say that a reload begins; ``READY=1`` says that it is done."""
    clock_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify("RELOADING=1", f"MONOTONIC_USEC={clock_us}")
