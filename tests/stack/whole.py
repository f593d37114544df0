"""All of Kubernetes for people and their clients: a control plane, a virtual node with a site behind it, users, and site files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from . import kubernetes
from .interlink import node as virtual_node
from .interlink import programs as interlink
from .interlink.accounts import make_user
from .interlink.node import VirtualNode
from .interlink.standard import NAME, standard_node
from .kubernetes.client import Cluster
from .processes import Processes

#: Whose kubeconfig is given, and who else there is, each in a namespace of their own.
_USERS = {"alice": kubernetes.NAMESPACE, "bob": "elsewhere"}


def built() -> bool:
    """Tell whether the programs are there, so that ``up`` needs no Go and little time."""
    return kubernetes.built() and interlink.MODULE.is_built()


def build() -> None:
    """Build the programs that are not there.

    Raises:
        CannotBuild: Go is missing, or it failed.
    """
    kubernetes.build()
    interlink.MODULE.build()


def up(folder: Path) -> dict[str, Any]:
    """Start everything unless all of it runs, wait until the node is ready, and say how to reach it.

    Raises:
        CannotBuild: the programs are not built, and building them failed.
        DidNotStart: a process ended or was not ready in time; everything is ended then, and the logs are kept.
    """
    build()
    if (found := _running(folder)) is not None:
        return found
    down(folder)
    folder.mkdir(mode=0o700, parents=True)
    control = kubernetes.up(folder / "control-plane", controllers=True)
    cluster = Cluster(folder / "control-plane", control["url"], control["namespace"])
    node = standard_node(cluster, folder / NAME)
    try:
        node.up()
        answer = _answer(folder, node, control)
        node.until_ready()
    except BaseException:
        node.down(keep_logs=True)
        kubernetes.down(folder / "control-plane", keep_logs=True)
        raise
    finally:
        cluster.close()
    (folder / "stack.json").write_text(json.dumps(answer))
    return answer


def down(folder: Path) -> None:
    """End everything, the jobs of the site too, and remove the folder. Nothing there is no error."""
    virtual_node.stop(folder / NAME)
    kubernetes.down(folder / "control-plane")
    shutil.rmtree(folder, ignore_errors=True)


def _running(folder: Path) -> dict[str, Any] | None:
    """Return what ``up`` answered, if all of it still runs."""
    try:
        answer: dict[str, Any] = json.loads((folder / "stack.json").read_text())
    except (OSError, ValueError):
        return None
    site = Processes(folder / NAME)
    if all(site.find(part) for part in virtual_node.PARTS) and kubernetes.runs(folder / "control-plane"):
        return answer
    return None


def _answer(folder: Path, node: VirtualNode, control: dict[str, Any]) -> dict[str, Any]:
    """Make the users, the site files, and what else a client needs."""
    users = {name: make_user(node.cluster, name, namespace) for name, namespace in _USERS.items()}
    kubeconfig = str(users["alice"])
    site = node.site_file(kubeconfig=kubeconfig)
    template = site | {"title": "Virtual nodes", "options": {"discover": "virtual-nodes", "kubeconfig": kubeconfig}}
    refined = site | {"title": "The site behind the virtual node"}
    sites = folder / "config" / "offload" / "sites"
    sites.mkdir(mode=0o700, parents=True)
    for name, definition in {"virtual-nodes": template, NAME: refined}.items():
        (sites / f"{name}.yaml").write_text(yaml.safe_dump(definition, sort_keys=False))
    # The keeper's own relay, where the site's jobs find it.
    (sites.parent / "relay.yaml").write_text("embedded: {host: 127.0.0.1, bind: 127.0.0.1}\n")
    return {
        "part": "kubernetes",
        "kubeconfig": kubeconfig,
        "admin_kubeconfig": control["kubeconfig"],
        "kubeconfigs": {name: str(path) for name, path in users.items()},
        "url": control["url"],
        "ca_file": control["ca_file"],
        "namespace": control["namespace"],
        "site_files": str(sites),
        "virtual_site": NAME,
        "catalog_files": None,
        "dataset": None,
        "env": {"KUBECONFIG": kubeconfig, "JUPYTER_CONFIG_PATH": str(folder / "config")},
    }
