"""Pods at a site behind a wall: they dial what was opened to them and nothing else, and nobody dials them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from small_pods import SmallPods

from tests.stack.interlink.node import VirtualNode, until
from tests.stack.network import WalledSite

DIAL = """
import json, socket, sys, time
def dials(address, port):
    try:
        socket.create_connection((address, port), timeout=2).close()
        return True
    except OSError:
        return False
listening = socket.create_server(("0.0.0.0", 0))
print(json.dumps([[dials(*where) for where in WHERE], listening.getsockname()[1]]), flush=True)
time.sleep(3600)
"""


@pytest.fixture
def walled_pods(walled_node: VirtualNode) -> Iterator[SmallPods]:
    made = SmallPods(walled_node)
    yield made
    made.clear()
    made.close()


def test_a_pod_dials_the_open_port_alone(walled_pods: SmallPods, walled_site: WalledSite) -> None:
    with socket.create_server(("", 0)) as opened, socket.create_server(("", 0)) as closed:
        ports = opened.getsockname()[1], closed.getsockname()[1]
        api_server = int(walled_pods.node.cluster.url.rpartition(":")[2])
        for port in ports:  # somebody is there
            socket.create_connection((walled_site.address, port), timeout=5).close()
        where = [(walled_site.address, port) for port in ports]
        where += [("127.0.0.1", port) for port in (*ports, api_server)]
        walled_site.open(ports[0])
        try:
            assert walled_site.reachable() == [ports[0]]
            pod = walled_pods.run(DIAL.replace("WHERE", repr(where)))
            found, own = json.loads(until(lambda: pod.log() if pod.jobs("running") else None))
            with walled_site.cut():
                assert not walled_site.namespace.reaches(walled_site.address, ports[0])
            assert walled_site.namespace.reaches(walled_site.address, ports[0])
        finally:
            walled_site.close(ports[0])
        assert found == [True, False, False, False, False]
        assert not walled_site.namespace.reaches(walled_site.address, ports[0])
        inside = walled_site.address.removesuffix(".1") + ".2"
        assert walled_site.namespace.reaches(inside, own), "it listens"
        with pytest.raises(OSError):
            socket.create_connection((inside, own), timeout=2)
