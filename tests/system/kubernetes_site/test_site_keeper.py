"""Kubernetes sites as a user meets them: files, a real keeper, and what the command line says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from site_objects import IMAGES, SMALL, token_of, with_user

from tests.stack.interlink.accounts import make_user
from tests.stack.interlink.node import VirtualNode
from tests.stack.kubernetes.client import Cluster


def write_site(home: Any, name: str, **fields: Any) -> None:
    folder = Path(home.env["JUPYTER_CONFIG_DIR"]) / "offload" / "sites"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(
        yaml.safe_dump({"backend": "kubernetes", "profiles": [SMALL], "images": IMAGES} | fields)
    )


def sites(home: Any) -> dict[str, dict[str, Any]]:
    done = home.offload("sites", "list", "--json")
    assert done.returncode == 0, done.stderr
    return {s["name"]: s for s in json.loads(done.stdout)["sites"]}


def until(what: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found


def test_virtual_nodes_are_sites_and_a_file_describes_one(home: Any, virtual_node: VirtualNode, ann: Path) -> None:
    gpu = SMALL | {"name": "gpu", "accelerators": [{"resource": "nvidia.com/gpu", "model": "A100"}]}
    fpga = SMALL | {"name": "fpga", "accelerators": [{"resource": "xilinx.com/fpga", "model": "U50"}]}
    write_site(home, "everywhere", options={"discover": "virtual-nodes", "kubeconfig": str(ann)})
    found = until(lambda: virtual_node.name in (seen := sites(home)) and seen)
    assert "everywhere" not in found, "it stands for the others"
    plain = found[virtual_node.name]
    assert plain["title"] == virtual_node.name
    assert plain["health"]["state"] == "healthy"
    assert {a["title"]: a["free"] for a in plain["capacity"]["accelerators"]} == {"A100": 2, "A100 slice 1g.10gb": 4}
    options = {"node": virtual_node.name, "kubeconfig": str(ann)}
    write_site(home, virtual_node.name, title="Leonardo", profiles=[SMALL, gpu, fpga], options=options)
    refined = until(lambda: (seen := sites(home)[virtual_node.name])["title"] == "Leonardo" and seen)
    assert [p["name"] for p in refined["profiles"]] == ["small", "gpu", "fpga"]
    assert list(refined["unavailable"]) == ["fpga"]
    assert "no U50 FPGA" in refined["unavailable"]["fpga"]
    assert refined["capacity"]["source"] == "site"


def test_what_is_wrong_is_said_in_a_terminal(home: Any, kubernetes: Cluster, namespace: str, tmp_path: Path) -> None:
    poor = make_user(kubernetes, "poor", namespace, nodes=False, rules=[])
    write_site(home, "poor", options={"node": "vk", "kubeconfig": str(poor)})
    write_site(home, "wrong", options={"nodes": "vk", "mount_path": "/a b"})
    away = with_user(poor, tmp_path / "away", {"token": token_of(poor)}, {"server": "https://127.0.0.1:1"})
    write_site(home, "away", options={"node": "vk", "kubeconfig": str(away)})
    seen = sites(home)
    assert {name: seen[name]["health"]["state"] for name in ("poor", "wrong", "away")} == {
        "poor": "unknown", "wrong": "unhealthy", "away": "unknown",
    }  # fmt: skip
    done = home.offload("sites", "check")
    assert done.returncode != 0
    for part in (
        f"kubectl -n {namespace} create role offload-poor-create-get-list-delete-pods",
        "options.nodes (line", "Did you mean node?", "options.mount_path (line", "cannot be reached",
    ):  # fmt: skip
        assert part in done.stdout, done.stdout
    assert token_of(poor) not in done.stdout + done.stderr + json.dumps(seen)
