"""Registration: who may have which name, who keeps it, and who was not heard for too long."""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from collections.abc import Callable
from typing import Any

from ..names import any_allows, is_peer_name, is_revoked
from .connection import Connection, Farewells
from .control import Control, Refused
from .counters import Counters
from .events import Events
from .limits import HubLimits, Stage
from .registry import Cluster, Registry

PROTOCOL = 1
_DEAD_AFTER = 3
_INSTANCE = re.compile(r"[0-9a-f]{32}\Z")


class Controls:
    """All control connections.

    Args:
        registered: called with cluster and name when a peer has registered, perhaps again.
    """

    def __init__(
        self,
        registry: Registry,
        limits: HubLimits,
        counters: Counters,
        events: Events,
        farewells: Farewells,
        registered: Callable[[Cluster, str], None],
    ) -> None:
        self.relay_id = secrets.token_hex(8)
        self.draining = False
        self._registry = registry
        self._limits = limits
        self._counters = counters
        self._events = events
        self._farewells = farewells
        self._registered = registered
        self._unregistered: Stage[Control] = Stage(
            limits.handshakes, limits.handshakes_per_source, limits.register_s, self._drop
        )
        self._timer: asyncio.TimerHandle | None = None

    def take(self, connection: Connection, cluster: Cluster) -> None:
        """Go on with a connection of that cluster whose handshake has succeeded."""
        control = Control(
            connection, cluster, handle=self._handle, ended=self._ended, see_off=self._farewells.see_off
        )  # fmt: skip
        self._unregistered.enter(control)
        if control in self._unregistered:
            control.start()
        if self._timer is None:
            self._look_soon()

    def everyone(self) -> list[Control]:
        """Return the registered control connections of all clusters."""
        return [p for c in self._registry.all() for p in c.peers.values() if isinstance(p, Control)]

    def close(self) -> None:
        """Close all, registered or not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unregistered.close()
        for control in self.everyone():
            control.cut("the relay ends")

    def _look_soon(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._limits.keepalive_s / 2, self._look)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        for control in self.everyone():
            control.look(now, _DEAD_AFTER * self._limits.keepalive_s)
        self._look_soon()

    def _drop(self, control: Control, why: str) -> None:
        self._counters.dropped["unregistered", why] += 1
        control.cut(why)

    def _handle(self, control: Control, message: dict[str, Any]) -> None:
        op = message.get("op")
        if control.name:
            if op == "ping":
                control.tell({"op": "pong"})
            elif op == "register":
                raise Refused("bad-request", "this connection is registered already")
        elif op == "register":
            self._register(control, message)
        else:
            raise Refused("bad-request", "the first message is to register")

    def _register(self, control: Control, message: dict[str, Any]) -> None:
        name, instance = self._permitted(control, message)
        cluster = control.cluster
        old = cluster.peers.get(name)
        self._unregistered.leave(control)
        control.name, control.instance = name, instance
        cluster.peers[name] = control  # before the old one goes, so that the name is never free
        cluster.lost.pop(name, None)
        if old is not None:
            old.cut("replaced by itself")
        self._events.log("registered", cluster=cluster.fingerprint, peer=name, source=control.connection.address)
        control.tell(
            {
                "op": "registered",
                "keepalive_s": self._limits.keepalive_s,
                "revoked": list(cluster.revoked),
                "relay": self.relay_id,
            }
        )
        self._registered(cluster, name)

    def _permitted(self, control: Control, message: dict[str, Any]) -> tuple[str, str]:
        """Return name and instance.

        Raises:
            Refused: the peer may not have this name, or not now.
        """
        name, instance = message.get("name"), message.get("instance")
        cluster = control.cluster
        if message.get("protocol") != PROTOCOL:
            raise Refused("bad-request", f"protocol: this relay speaks {PROTOCOL}")
        if not isinstance(instance, str) or not _INSTANCE.match(instance):
            raise Refused("bad-request", "instance: 32 hexadecimal digits are needed")
        if not isinstance(name, str) or not is_peer_name(name):
            raise Refused("bad-name", "name: one lower-case DNS label is needed, such as w-job7-k3")
        if not any_allows(control.patterns, name):
            allowed = ", ".join(control.patterns) or "no name"
            raise Refused("not-allowed", f"name: this certificate allows {allowed}, not {name}")
        if is_revoked(control.patterns, cluster.revoked):
            raise Refused("revoked", "this certificate is revoked")
        if self._registry.get(cluster.fingerprint) is not cluster:
            raise Refused("not-allowed", "the cluster is no longer admitted", final=False)
        if self.draining:
            raise Refused("draining", "this relay ends; register with another", final=False)
        old = cluster.peers.get(name)
        if old is not None and not hmac.compare_digest(old.instance, instance):
            raise Refused("name-in-use", f"name: {name} is registered by another peer", final=False)
        if old is None and (number := cluster.account.peers) >= cluster.limits.peers:
            raise Refused("too-many-peers", f"the clusters of this owner have {number} peers already", final=False)
        return name, instance

    def _ended(self, control: Control, why: str) -> None:
        self._unregistered.leave(control)
        cluster, name = control.cluster, control.name
        where = {"cluster": cluster.fingerprint, "source": control.connection.address, "reason": why}
        if name and cluster.peers.get(name) is control:
            del cluster.peers[name]
            self._remember(cluster, name)
            self._events.log("unregistered", peer=name, **where)
        elif not name:
            reason = why if why.startswith("refused: ") else "unregistered"
            self._counters.refused(reason.removeprefix("refused: "), cluster.tally)
            self._events.noise("not-registered", **where)

    def _remember(self, cluster: Cluster, name: str) -> None:
        """Who dials this peer in the next moments waits for it."""
        now = asyncio.get_running_loop().time()
        cluster.lost.pop(name, None)
        cluster.lost[name] = now
        oldest = next(iter(cluster.lost))
        while now - cluster.lost[oldest] > self._limits.grace_s or len(cluster.lost) > cluster.limits.peers:
            del cluster.lost[oldest]
            oldest = next(iter(cluster.lost))
