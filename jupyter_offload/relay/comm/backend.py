"""What Dask asks of a communication backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed.comm.core import Comm
from distributed.comm.registry import Backend

from .connector import RelayConnector, peer_of
from .listener import RelayListener


class RelayBackend(Backend):  # type: ignore[misc]
    """The scheme ``relay``. A host is a peer: nobody knows which peers share a machine."""

    def get_connector(self) -> RelayConnector:
        """Return what connects."""
        return RelayConnector()

    def get_listener(
        self, loc: str, handle_comm: Callable[[Comm], Any], deserialize: bool, **connection_args: Any
    ) -> RelayListener:
        """Return what listens."""
        return RelayListener(loc, handle_comm, deserialize, **connection_args)

    def get_address_host(self, loc: str) -> str:
        """Return the peer."""
        return loc.partition(":")[0]

    def resolve_address(self, loc: str) -> str:
        """Return the address as it is written everywhere."""
        return peer_of(loc)

    def get_local_address_for(self, loc: str) -> str:
        """Return nothing: whoever listens here takes the name of the configuration."""
        return ""
