"""Workers as pods on ordinary nodes, which Kubernetes chooses by labels."""

from __future__ import annotations

import json

from jupyter_offload.api.models import SiteList
from tests.stack.interlink.accounts import make_user

from ..keeper.conftest import until


def test_workers_on_ordinary_nodes_compute_and_go(kubernetes, ordinary_node, desk) -> None:
    kubeconfig = make_user(kubernetes, "alice", "jupyter-alice")
    hostname = {"kubernetes.io/hostname": ordinary_node.name}
    site = {
        "title": "The cluster's own nodes",
        "backend": "kubernetes",
        "profiles": [{"name": "small", "cores": 1, "memory_bytes": "1 GiB", "maximum_workers": 4}],
        "images": [{"name": "stack", "image": "stack"}],
        "options": {"node_selector": hostname, "kubeconfig": str(kubeconfig)},
    }
    offload = desk.home / "conf" / "offload"
    (offload / "sites").mkdir(parents=True)
    (offload / "sites" / "nodes.yaml").write_text(json.dumps(site))
    (offload / "relay.yaml").write_text("embedded: {host: 127.0.0.1, bind: 127.0.0.1}\n")
    known = {s.name: s for s in desk.client.call("listSites", SiteList).sites}["nodes"]
    assert known.health.state == "healthy", known.health
    assert known.architectures, "ordinary nodes say what they are"
    assert known.capacity.cores_free is None, "nobody tells a user what others use"

    cluster = desk.new("plain", workers=2, site="nodes")
    assert {w.stage for w in cluster.worker_list} == {"proven"}
    with desk.dask("plain") as client:
        assert client.submit(sum, [1, 2, 3]).result(timeout=60) == 6
    desk.stop("plain")
    selector = {"labelSelector": f"offload.dask.org/cluster={cluster.id}"}
    for kind in ("pods", "secrets"):
        until(lambda kind=kind: not kubernetes.admin.get(f"/api/v1/{kind}", params=selector).json()["items"])
    relay = desk.home / "run"
    until(lambda: not list(relay.rglob("relay.json")), wrong="the relay is needed by somebody")
