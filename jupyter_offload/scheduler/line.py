"""JSON lines between supervisor and scheduler process, over a socket pair. The supervisor's end never blocks."""

from __future__ import annotations

import json
import socket
from typing import Any

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """Return one message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Line:
    """The supervisor's end."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._incoming = b""
        self._outgoing = bytearray()
        self.open = True

    def fileno(self) -> int:
        """Return the descriptor, for select."""
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether something waits to be sent."""
        return self.open and bool(self._outgoing)

    def send(self, message: Message) -> None:
        """Send a message now, or as soon as the other side reads again. Nothing is sent on a closed line."""
        if self.open:
            self._outgoing += encode(message)
            self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the other side takes it."""
        try:
            while self._outgoing:
                del self._outgoing[: self._socket.send(self._outgoing)]
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def receive(self) -> list[Message]:
        """Return the messages that have arrived; the line closes itself when the other side is gone."""
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.close()
            return []
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close this end. Idempotent."""
        if self.open:
            self.open = False
            self._socket.close()
