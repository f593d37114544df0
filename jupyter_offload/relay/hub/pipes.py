"""Pipes for ``splice(2)``, by which the kernel moves bytes between two sockets without showing them to us (Linux)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys

#: An unprivileged user may have 64 MiB of pipe buffers by default (``fs.pipe-user-pages-soft``).
MOST_PIPES = 32
PIPE_BYTES = 1 << 20
CAN_SPLICE = sys.platform == "linux" and hasattr(os, "splice")


class Pipe:
    """An empty pipe, lent by a ``Pipes``; ``held`` is how many bytes are in it."""

    __slots__ = ("held", "read_end", "write_end")

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        with contextlib.suppress(OSError, AttributeError):  # beyond the user's share it stays at 64 kB
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def close(self) -> None:
        """Close both ends and drop what is in it."""
        os.close(self.read_end)
        os.close(self.write_end)


class Pipes:
    """A small pool. Who gets none copies instead."""

    def __init__(self, most: int = MOST_PIPES) -> None:
        self._idle: list[Pipe] = []
        self._left = most if CAN_SPLICE else 0

    def take(self) -> Pipe | None:
        """Return an empty pipe; None when all are lent or the system has none."""
        if self._idle:
            return self._idle.pop()
        if self._left <= 0:
            return None
        try:
            pipe = Pipe()
        except OSError:
            return None
        self._left -= 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take a pipe back; one that is not empty is closed, since its bytes belong to a broken connection."""
        if pipe.held:
            pipe.close()
            self._left += 1
        else:
            self._idle.append(pipe)

    def close(self) -> None:
        """Close those that are not lent."""
        while self._idle:
            self._idle.pop().close()
            self._left += 1
