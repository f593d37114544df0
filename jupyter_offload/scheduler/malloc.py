"""The allocator of a worker. glibc reads ``MALLOC_*`` only at exec, and a forked worker never does one.

Dask's nanny sets a small trim threshold; that also freezes the threshold above which arrays are mapped, so each larger array
is mapped and faulted in anew, which halves columnar throughput. Larger thresholds keep freed memory instead, so it is given
back when a worker falls idle or fills up.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: glibc refuses an mmap threshold above this (HEAP_MAX_SIZE / 2 on 64 bit).
_MMAP_LIMIT = 32 << 20


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None  # musl has none


_LIBRARY = _glibc()


def set_thresholds(trim_bytes: int, mmap_bytes: int) -> bool:
    """Set when freed memory goes back to the system; False where the allocator has no such knobs."""
    if _LIBRARY is None:
        return False
    trim = _LIBRARY.mallopt(_M_TRIM_THRESHOLD, min(trim_bytes, 2**31 - 1))
    mmap = _LIBRARY.mallopt(_M_MMAP_THRESHOLD, min(mmap_bytes, _MMAP_LIMIT))
    return bool(trim and mmap)


def trim() -> bool:
    """Give free memory back to the system; True if any was. Takes up to about 0.1 s; the GIL is released meanwhile."""
    return bool(_LIBRARY is not None and _LIBRARY.malloc_trim(0))
