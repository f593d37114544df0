"""A keeper that knows a virtual node: real Kubernetes, real interLink, a site that can only be asked through them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_offload.api import locations
from jupyter_offload.api.models import Phase, SiteList
from tests.stack.fixtures import kubernetes as kubernetes
from tests.stack.fixtures import old_image as old_image
from tests.stack.fixtures import virtual_node as virtual_node
from tests.stack.interlink.accounts import make_user
from tests.stack.interlink.node import VirtualNode, until

from ..keeper.conftest import Desk, _desk

LOOPBACK = "embedded: {host: 127.0.0.1, bind: 127.0.0.1}\n"
SITE = "far"


class FarDesk(Desk):
    """A user whose workers are pods on a virtual node."""

    def __init__(self, desk: Desk, node: VirtualNode, kubeconfig: Path) -> None:
        super().__init__(desk.home)
        self.node = node
        self.kubeconfig = kubeconfig

    def write_site(self, name: str = SITE, *, images: dict[str, str] | None = None, **options: object) -> None:
        """Declare the node as a site; ``images`` by name, besides those that work."""
        folder = self.home / "conf" / "offload" / "sites"
        folder.mkdir(parents=True, exist_ok=True)
        site = self.node.site_file(kubeconfig=str(self.kubeconfig), **options)
        known = {i["name"]: i["image"] for i in site["images"]} | (images or {})
        site["images"] = [{"name": n, "image": i} for n, i in known.items()]
        (folder / f"{name}.yaml").write_text(json.dumps(site))
        self.client.call("listSites", SiteList)  # which reads it

    def nothing_left(self, cluster: str) -> None:
        """Wait until neither the API server nor the site has anything of a cluster."""
        label = {"offload.dask.org/cluster": cluster}
        until(lambda: not self.node.pods(**label), wrong="a pod is left")
        selector = {"labelSelector": ",".join(f"{k}={v}" for k, v in label.items())}
        admin = self.node.cluster.admin
        until(lambda: not admin.get("/api/v1/secrets", params=selector).json()["items"], wrong="a Secret is left")
        until(lambda: not self.node.running(), wrong=f"a job is left: {self.node.running()}")

    def settle(self) -> None:
        """Stop everything, and wait until nobody needs the relay: a keeper that goes before leaves it to the next one."""
        for cluster in self.all():
            if cluster.phase not in (Phase.stopped, Phase.failed):
                self.stop(cluster.id)
        relay = locations.runtime_folder() / "relay.json"
        until(lambda: not relay.exists(), wrong="the relay is needed by somebody")


@pytest.fixture(scope="session")
def kubeconfig(kubernetes, virtual_node) -> Path:
    return make_user(kubernetes, "alice", "jupyter-alice")


@pytest.fixture
def far(virtual_node: VirtualNode, kubeconfig: Path) -> Iterator[FarDesk]:
    """A keeper that knows the virtual node as the site ``far``, with a relay on loopback."""
    virtual_node.behave()
    virtual_node.until_ready()
    with _desk() as desk:
        far = FarDesk(desk, virtual_node, kubeconfig)
        far.write_site()
        (far.home / "conf" / "offload" / "relay.yaml").write_text(LOOPBACK)
        sites = {s.name: s for s in far.client.call("listSites", SiteList).sites}
        assert sites[SITE].health.state.value == "healthy", sites[SITE].health
        try:
            yield far
            far.settle()
        except BaseException:
            for log in far.home.rglob("*.log"):
                print(f"--- {log}\n{log.read_text()[-3000:]}")
            raise
        finally:
            virtual_node.behave()
