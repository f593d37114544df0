"""What every TCP connection through the relay is set to."""

from __future__ import annotations

import contextlib
import socket
import sys

#: A peer that answers nothing for this long is gone; then paths of sessions are replaced and splices end.
DEAD_AFTER_S = 30
_IDLE_S, _INTERVAL_S, _PROBES = 10, 4, 5
_DARWIN_KEEPALIVE = 0x10  # what macOS calls TCP_KEEPIDLE; Python 3.11 has no name for it there
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)  # Linux 2.6.37; missing from some builds of Python


def tune(one: socket.socket) -> None:
    """Send at once, and notice a peer or a network that is gone."""
    with contextlib.suppress(OSError):  # it may be closed already; whoever reads it will see that
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        idle = _DARWIN_KEEPALIVE if sys.platform == "darwin" else socket.TCP_KEEPIDLE
        one.setsockopt(socket.IPPROTO_TCP, idle, _IDLE_S)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _INTERVAL_S)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
        if sys.platform == "linux":
            one.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, DEAD_AFTER_S * 1000)
