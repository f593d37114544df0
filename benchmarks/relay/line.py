"""A line between two network namespaces on which every packet takes a while: ``python -m benchmarks.relay.line A:DEV B:DEV S``.

It makes device DEV in each namespace and carries the packets of each to the other, S seconds later, in order and without loss.
``tc netem`` would do the same in the kernel, but not every kernel has it. Packets are of up to 64 KiB (the kernel cuts and joins
them only where a real network begins), so that this process carries more than TCP asks of it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

from .namespaces import enter

#: <linux/if_tun.h>
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_CHECKSUMS_AND_SEGMENTATION = 1 | 2 | 4 | 8
_LONGEST_PACKET = 70_000
_BATCH = 64


class End:
    """One end of the line, and what is under way to it."""

    def __init__(self, namespace: str, device: str) -> None:
        enter(namespace)
        self.descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        request = struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR)
        fcntl.ioctl(self.descriptor, _TUNSETIFF, request)
        fcntl.ioctl(self.descriptor, _TUNSETOFFLOAD, _CHECKSUMS_AND_SEGMENTATION)
        self.coming: deque[tuple[float, bytes]] = deque()

    def fileno(self) -> int:
        return self.descriptor

    def take(self, other: End, delay_s: float) -> None:
        """Take packets that go to the other end."""
        due = time.monotonic() + delay_s
        try:
            for _ in range(_BATCH):
                other.coming.append((due, os.read(self.descriptor, _LONGEST_PACKET)))
        except BlockingIOError:
            return

    def deliver(self) -> None:
        """Hand over what is due."""
        now = time.monotonic()
        while self.coming and self.coming[0][0] <= now:
            try:
                os.write(self.descriptor, self.coming.popleft()[1])
            except OSError as error:
                if error.errno != errno.EIO:  # this end is not up yet
                    raise


def carry(one: End, other: End, delay_s: float) -> None:
    """Carry packets for ever."""
    ends = (one, other)
    while True:
        dues = [end.coming[0][0] for end in ends if end.coming]
        wait_s = max(0.0, min(dues) - time.monotonic()) if dues else None
        readable, _, _ = select.select(ends, [], [], wait_s)
        for end in readable:
            end.take(other if end is one else one, delay_s)
        for end in ends:
            end.deliver()


def main() -> None:
    one, other, delay_s = sys.argv[1:]
    ends = [End(*place.split(":")) for place in (one, other)]
    print("ready", flush=True)
    carry(*ends, float(delay_s))


if __name__ == "__main__":
    main()
