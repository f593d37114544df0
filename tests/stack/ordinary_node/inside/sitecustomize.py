"""What makes a Python program believe that its pod has a network of its own; the node puts this folder on its path.

All pods share this machine's network, so two could not listen at one port everywhere. Here everywhere means the pod's own
address, there is no IPv6, and the way to the world (by which Dask finds its own address) begins at the pod's address.
"""

import errno
import os
import socket

_ADDRESS = os.environ.get("ORDINARY_NODE_POD_IP")
_EVERYWHERE = ("", "0.0.0.0")


class _Socket(socket.socket):
    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):  # noqa: A002
        if family == socket.AF_INET6 and fileno is None:
            raise OSError(errno.EAFNOSUPPORT, "a pod here has no IPv6")
        super().__init__(family, type, proto, fileno)

    def bind(self, address):
        if self.family == socket.AF_INET and address[0] in _EVERYWHERE:
            address = (_ADDRESS, *address[1:])
        return super().bind(address)

    def connect(self, address):
        if self.family == socket.AF_INET and self.type & socket.SOCK_DGRAM and not str(address[0]).startswith("127."):
            address = (_ADDRESS, *address[1:])
            super().bind((_ADDRESS, 0))
        return super().connect(address)


if _ADDRESS:
    socket.socket = _Socket
    socket.SocketType = _Socket
    socket.has_ipv6 = False
