"""A Kubernetes with a virtual node for a test in the browser: says how to reach it, answers questions, and goes when it is told to.

One JSON object a line on standard output: first how to reach it, then an answer to each line on standard input (``left CLUSTER``,
``misbehave {...}``, ``kill PART``, ``start PART``, ``reachable``). The end of standard input ends everything. Where this user may make
network namespaces, pods can dial the relay's port and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.stack.interlink.accounts import make_user
from tests.stack.interlink.node import VirtualNode
from tests.stack.interlink.standard import standard_node
from tests.stack.kubernetes import control_plane
from tests.stack.kubernetes.client import Cluster
from tests.stack.network import NotPermitted, WalledSite


def free_port(address: str) -> int:
    with socket.create_server((address, 0)) as listening:
        return int(listening.getsockname()[1])


def say(answer: Any) -> None:
    print(json.dumps(answer), flush=True)


def left(node: VirtualNode, cluster: str) -> dict[str, Any]:
    """Return everything of a cluster that the API server and the site have, by name."""
    selector = f"offload.dask.org/cluster={cluster}"
    found: dict[str, Any] = {}
    for kind in ("pods", "secrets"):
        items = node.cluster.admin.get(f"/api/v1/{kind}", params={"labelSelector": selector}).json()["items"]
        found[kind] = [i["metadata"]["name"] for i in items]
    found["jobs"] = [j["pod"] for j in node.running()]
    found["processes"] = [p.pid for p in node.processes()]
    return found


def answer(node: VirtualNode, wall: WalledSite | None, words: list[str]) -> Any:
    command, rest = words[0], " ".join(words[1:])
    if command == "left":
        return left(node, rest)
    if command == "misbehave":
        node.misbehave(**json.loads(rest or "{}"))
    elif command == "kill":
        node.kill(rest)
    elif command == "start":
        node.start(rest)
    elif command == "ready":
        node.until_ready()
    elif command == "reachable":
        return wall.reachable() if wall is not None else None
    return {"done": command}


def main() -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vn")))
        wall: WalledSite | None = None
        with contextlib.suppress(NotPermitted):
            wall = WalledSite()
            stack.callback(wall.remove)
        address = wall.address if wall else "127.0.0.1"
        port = free_port(address)
        if wall:
            wall.open(port)
        told = control_plane.up(folder / "control-plane", controllers=True)
        stack.callback(control_plane.down, folder / "control-plane")
        cluster = Cluster(folder / "control-plane", told["url"], told["namespace"])
        node = standard_node(cluster, folder / "vk", "leonardo", netns=wall.namespace.name if wall else None)
        stack.callback(node.down)
        node.up()
        kubeconfig = make_user(cluster, "alice", told["namespace"])
        node.until_ready()
        say({
            "site": node.site_file(kubeconfig=str(kubeconfig)),
            "relay": {"embedded": {"host": address, "bind": address, "port": port}},
            "walled": wall is not None,
            "port": port,
        })  # fmt: skip
        for line in sys.stdin:
            say(answer(node, wall, line.split()))


if __name__ == "__main__":
    main()
