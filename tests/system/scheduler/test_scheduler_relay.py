"""A cluster with a relay: the scheduler's second door, and what is told of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from process_tree import TreeOfOne, until


def closed_port() -> int:
    """Return a port of this host where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _listening(dask_scheduler: Any) -> list[str]:
    return [listener.listen_address for listener in dask_scheduler.listeners]


def test_a_relay_that_is_down_keeps_no_local_client_away(start_either: Callable[..., TreeOfOne]) -> None:
    address = f"127.0.0.1:{closed_port()}"
    tree = start_either(
        workers=1, relay={"addresses": [address], "domain": "relay.test", "ca_file": None, "resume_s": 30}
    )
    tree.connected(1)
    assert tree.ready()["scheduler_address"].startswith("tls://127.0.0.1:")
    with tree.client() as client:
        assert client.submit(sum, [1, 2]).result(60) == 3
        addresses = [tree.ready()["scheduler_address"], "relay://scheduler"]
        until(lambda: client.run_on_scheduler(_listening) == addresses)
    until(lambda: tree.events("relay-lost"))
    (event,) = tree.events("relay-lost")
    assert address in event["message"] and event["level"] == "warning"
    relay = tree.status()["relay"]
    assert relay["registered"] is False
    assert address in relay["problem"]


def test_without_a_relay_nothing_is_told_of_one(start: Callable[..., TreeOfOne]) -> None:
    assert start(workers=0).connected(0)["relay"] is None
