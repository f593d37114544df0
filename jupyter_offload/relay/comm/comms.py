"""Dask's messages over what the relay joined: a plain splice, or a session."""

from __future__ import annotations

import asyncio
import logging
import ssl
import weakref
from typing import Any

from distributed.comm.core import Comm, CommClosedError, FatalCommClosedError
from distributed.comm.tcp import TLS
from distributed.comm.utils import from_frames, to_frames
from distributed.protocol.utils import host_array, pack_frames_prelude, unpack_frames
from distributed.utils import ensure_memoryview, nbytes

from .secure import SecureStream

log = logging.getLogger("distributed.relay")

PREFIX = "relay://"
_LENGTH_BYTES = 8
_SMALL_BYTES = 128 << 10


class SplicedComm(TLS):  # type: ignore[misc]
    """Dask's own TLS comm on a connection that a relay splices."""

    @property
    def same_host(self) -> bool:
        """Whether both ends are on one host, which nobody can know here."""
        return False


class SessionComm(Comm):  # type: ignore[misc]
    """Messages over a session.

    A message is the length of its first part (8 bytes), that part (Dask's prelude, then all frames but the large ones), and the
    large frames, each read into memory of its own.
    """

    def __init__(
        self, stream: SecureStream, peercert: dict[str, Any], local: str, peer: str, deserialize: bool
    ) -> None:
        super().__init__(deserialize=deserialize)
        self._stream: SecureStream | None = stream
        self._local_addr, self._peer_addr = local, peer
        self._extra = {"peercert": peercert}
        self._writing = asyncio.Lock()
        self._finalizer = weakref.finalize(self, _close_dangling, stream, repr(self))
        self._finalizer.atexit = False

    @property
    def same_host(self) -> bool:
        """Whether both ends are on one host, which nobody can know here."""
        return False

    @property
    def local_address(self) -> str:
        """Our address."""
        return self._local_addr

    @property
    def peer_address(self) -> str:
        """The other end's address."""
        return self._peer_addr

    @property
    def extra_info(self) -> dict[str, Any]:
        """The other end's certificate, as ``ssl`` gives it."""
        return self._extra

    async def read(self, deserializers: Any = None) -> Any:
        """Return the next message.

        Raises:
            CommClosedError: the session ended.
        """
        stream = self._opened()
        try:
            length = bytearray(_LENGTH_BYTES)
            await stream.read_into(memoryview(length))
            first = host_array(int.from_bytes(length, "big"))
            await stream.read_into(first)
            frames, large = unpack_frames(first, partial=True)
            for size in large:
                buffer = host_array(size)
                await stream.read_into(buffer)
                frames.append(buffer)
        except (OSError, EOFError) as error:  # ssl.SSLError is an OSError
            self.abort()
            raise _closed(self, error) from error
        except BaseException:  # what was read is lost, so nothing after it can be read
            self.abort()
            raise
        try:
            return await from_frames(
                frames, deserialize=self.deserialize, deserializers=deserializers, allow_offload=self.allow_offload
            )
        except EOFError as error:
            self.abort()
            raise CommClosedError("aborted stream on truncated data") from error

    async def write(self, msg: Any, serializers: Any = None, on_error: str = "message") -> int:
        """Send a message; return its size in bytes.

        Raises:
            CommClosedError: the session ended.
        """
        stream = self._opened()
        frames = await to_frames(
            msg, allow_offload=self.allow_offload, serializers=serializers, on_error=on_error,
            context={"sender": self.local_info, "recipient": self.remote_info, **self.handshake_options},
            frame_split_size=TLS.max_shard_size,
        )  # fmt: skip
        parts = _parts(frames)
        try:
            async with self._writing:  # a part that waits for room must not let another message in between
                for part in parts:
                    await stream.write(part)
        except (OSError, EOFError) as error:
            self.abort()
            raise _closed(self, error) from error
        except BaseException:
            self.abort()
            raise
        return sum(map(nbytes, parts))

    def _opened(self) -> SecureStream:
        if self._stream is None:
            raise CommClosedError(f"in {self}: closed")
        return self._stream

    async def close(self) -> None:
        """Close; what was written goes out."""
        self.abort()

    def abort(self) -> None:
        """Close."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def closed(self) -> bool:
        """Whether it is, and nothing is left to read."""
        return self._stream is None or self._stream.exhausted


def _close_dangling(stream: SecureStream, comm: str) -> None:
    if not stream.session.ended:
        log.warning("Closing dangling session in %s", comm)
        stream.close()


def _parts(frames: list[Any]) -> list[memoryview]:
    """Return what goes over the wire: everything small in one piece, then each large frame by itself.

    The reader learns from the prelude how large all frames are, and from the length where the first part ends.
    """
    sizes = [nbytes(frame) for frame in frames]
    inline = 0
    if sum(sizes) <= _SMALL_BYTES:
        inline = len(frames)
    else:
        while inline < len(frames) and sizes[inline] <= _SMALL_BYTES:
            inline += 1
    prelude = pack_frames_prelude(frames)
    length = len(prelude) + sum(sizes[:inline])
    first = b"".join([length.to_bytes(_LENGTH_BYTES, "big"), prelude, *frames[:inline]])
    return [memoryview(first), *(ensure_memoryview(frame) for frame in frames[inline:] if nbytes(frame))]


def _closed(comm: Comm, error: Exception) -> CommClosedError:
    told = f"in {comm}: {type(error).__name__}: {error}"
    if isinstance(error, ssl.SSLError) and "UNKNOWN_CA" in (error.reason or ""):
        return FatalCommClosedError(told)
    return CommClosedError(told)
