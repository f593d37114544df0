"""What the doctor finds at a real API server: each fault with its repair, nothing created, and little to say where all is well."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from site_objects import IMAGES, SMALL, MakeSite, definition, token_of, until, with_user

from jupyter_offload.api.models import Finding
from jupyter_offload.backends.kubernetes.rbac import RIGHTS
from tests.stack.interlink.accounts import USER_RULES, make_user
from tests.stack.interlink.node import VirtualNode
from tests.stack.kubernetes.client import Cluster

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "add-a-kubernetes-site.md"
MERGE = {"Content-Type": "application/merge-patch+json"}


def bad(findings: list[Finding], check: str | None = None) -> list[Finding]:
    return [f for f in findings if f.state != "ok" and check in (None, f.check)]


async def test_a_site_that_is_well(virtual_node: VirtualNode, ann: Path, site: MakeSite) -> None:
    gpu = SMALL | {"name": "gpu", "accelerators": [{"resource": "nvidia.com/gpu", "model": "A100"}]}
    side = await site(node=virtual_node.name, kubeconfig=str(ann), profiles=[SMALL, gpu])
    findings = list(await side.check())
    assert bad(findings) == []
    assert {f.check for f in findings} >= {
        "account", "api-server", "clock", "node", "taint", "label", "heartbeat", "interlink", "ping", "rights", "admission",
        "names", "images", "profiles",
    }  # fmt: skip
    assert not virtual_node.cluster.admin.get(f"/api/v1/namespaces/{side.api.namespace}/pods").json()["items"]


async def test_each_missing_right_is_named_with_its_repair(kubernetes: Cluster, namespace: str, site: MakeSite) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "list"]}]
    kubeconfig = make_user(kubernetes, "poor", namespace, nodes=False, rules=rules)
    side = await site(node="vk", kubeconfig=str(kubeconfig))
    found = {f.message: f for f in bad(list(await side.check()), "rights")}
    expected = {
        "delete pods in namespace": ("error", "create role offload-poor-delete-pods --verb=delete --resource=pods"),
        "get pods/log in namespace": ("error", "--verb=get --resource=pods/log"),
        "create, get, list, patch, delete secrets in": ("error", "--verb=create,get,list,patch,delete --resource=secrets"),
        "list events in namespace": ("warning", "--verb=list --resource=events"),
        "list resourcequotas in namespace": ("warning", "--verb=list --resource=resourcequotas"),
        "get nodes in the cluster": ("warning", "create clusterrole offload-poor-get-nodes --verb=get --resource=nodes"),
    }  # fmt: skip
    for says, (state, repair) in expected.items():
        (finding,) = [f for message, f in found.items() if says in message]
        assert finding.state == state
        assert repair in str(finding.hint)
        assert f"--serviceaccount={namespace}:poor" in str(finding.hint)
    assert len(found) == len(expected)


async def test_an_account_that_may_too_much(kubernetes: Cluster, site: MakeSite) -> None:
    side = await site(node="vk", kubeconfig=str(kubernetes.folder / "admin.kubeconfig"))
    found = [f.message for f in bad(list(await side.check()), "rights")]
    assert any("read the secrets of all namespaces" in m for m in found)
    assert any("start pods in all namespaces" in m for m in found)
    assert not any("may not" in m for m in found)


async def test_a_namespace_that_is_not_there(kubernetes: Cluster, site: MakeSite) -> None:
    admin = str(kubernetes.folder / "admin.kubeconfig")
    (finding,) = bad(list(await (await site(node="vk", kubeconfig=admin, namespace="nowhere")).check()), "namespace")
    assert finding.message == "There is no namespace 'nowhere'."
    assert "kubectl create namespace nowhere" in str(finding.hint)


async def test_quotas_against_the_profiles(kubernetes: Cluster, namespace: str, ann: Path, site: MakeSite) -> None:
    hard = {"requests.cpu": "4", "limits.memory": "6Gi", "pods": "10", "requests.nvidia.com/gpu": "0"}
    kubernetes.make(
        f"/api/v1/namespaces/{namespace}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": hard}}
    )
    large = {"name": "large", "cores": 8, "memory_bytes": "1 GiB"}
    gpu = SMALL | {"name": "gpu", "accelerators": [{"resource": "nvidia.com/gpu"}]}
    side = await site(node="vk", kubeconfig=str(ann), profiles=[SMALL, large, gpu])

    async def counted() -> list[Finding] | None:
        findings = list(await side.check())
        known = [f for f in findings if f.check == "quota"]
        return findings if len(known) == 3 and bad(findings, "admission") else None

    findings = await until(counted, 60)
    quota = [f for f in findings if f.check == "quota"]
    assert quota[0].state == "ok"
    assert quota[0].message == "Quota 'q' allows 4 more workers of profile 'small' now, and 4 in all."
    assert [f.message for f in quota[1:]] == [
        f"Quota 'q' allows no worker of profile '{name}' at all." for name in ("large", "gpu")
    ]
    refused = bad(findings, "admission")
    assert [f.state for f in refused] == ["error", "error"]
    assert "'large' would be refused: Quota 'q' does not allow it" in refused[0].message


async def test_pod_security_against_host_paths(kubernetes: Cluster, namespace: str, ann: Path, site: MakeSite) -> None:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    kubernetes.admin.patch(f"/api/v1/namespaces/{namespace}", json=label, headers=MERGE).raise_for_status()
    with_path = await site(node="vk", kubeconfig=str(ann), host_paths=[{"path": "/cvmfs"}])
    without = await site(node="vk", kubeconfig=str(ann))

    async def refused() -> Any:
        return bad(list(await with_path.check()), "admission")

    (finding,) = await until(refused, 30)
    assert "hostPath" in finding.message
    assert "options.host_paths" in str(finding.hint) and "enforce=privileged" in str(finding.hint)
    assert not bad(list(await without.check()), "admission")


async def test_accounts_that_cannot_be_used(ann: Path, tmp_path: Path, site: MakeSite) -> None:
    missing = list(await (await site(node="vk", kubeconfig=str(tmp_path / "missing"))).check())
    assert [(f.check, f.state) for f in missing] == [("account", "error")]
    assert "There is no kubeconfig" in missing[0].message and missing[0].hint
    stale = with_user(ann, tmp_path / "stale", {"token": token_of(ann)[:-8] + "AAAAAAAA"})
    (finding,) = bad(list(await (await site(node="vk", kubeconfig=str(stale))).check()))
    assert (finding.check, finding.state) == ("account", "error")
    assert "does not accept the credentials" in finding.message
    away = with_user(ann, tmp_path / "away", {"token": "x"}, {"server": "https://127.0.0.1:1"})
    (finding,) = bad(list(await (await site(node="vk", kubeconfig=str(away))).check()))
    assert (finding.check, finding.state) == ("api-server", "error")


async def test_accounts_that_are_open_to_others(ann: Path, tmp_path: Path, site: MakeSite) -> None:
    cluster = {"insecure-skip-tls-verify": True, "certificate-authority-data": ""}
    kubeconfig = with_user(ann, tmp_path / "config", {"token": token_of(ann)}, cluster)
    kubeconfig.chmod(0o644)
    findings = list(await (await site(node="vk", kubeconfig=str(kubeconfig))).check())
    messages = [f.message for f in bad(findings, "account")]
    assert [f.state for f in findings if f.check == "api-server"] == ["ok"], "it is obeyed all the same"
    assert any("does not check whom it talks to" in m for m in messages)
    assert any("can be read by others" in m for m in messages)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([], "names no image"),
        ([{"name": "a", "image": "ghcr.io/facility/analysis"}], "another one tomorrow"),
        ([{"name": "a", "image": "ghcr.io/facility/analysis:latest"}], "another one tomorrow"),
        ([{"name": "a", "image": "localhost:5000/analysis:1"}], "'host'"),
        ([{"name": "a", "image": "facility/a:1; rm"}], "shell"),
    ],
)
async def test_images_that_are_doubtful(ann: Path, site: MakeSite, images: list[dict[str, str]], says: str) -> None:
    side = await site(node="vk", kubeconfig=str(ann), images=images)
    found = bad(list(await side.check()), "images")
    assert any(says in f.message and f.hint for f in found)


@pytest.mark.parametrize(
    "image",
    [
        "facility/analysis:2026.11",
        "a/b@sha256:" + "0" * 64,
        "/cvmfs/images.example.org/analysis.sif",
        "reg.example:5000/a:1",
    ],
)
async def test_images_that_are_right(ann: Path, site: MakeSite, image: str) -> None:
    side = await site(node="vk", kubeconfig=str(ann), images=[{"name": "a", "image": image}])
    assert not bad(list(await side.check()), "images")


async def test_names_that_get_too_long_for_a_tunnel(kubernetes: Cluster, site: MakeSite) -> None:
    long = "a-namespace-of-many-letters"
    kubeconfig = make_user(kubernetes, "ann", long)
    (finding,) = bad(list(await (await site(node="vk", kubeconfig=str(kubeconfig))).check()), "names")
    most = int(re.findall(r"at most (\d+)", str(finding.hint))[0])
    assert (
        len(f"{'x' * 25}-{'n' * most}-{'n' * most}-wstunnel")
        <= 63
        < len(f"{'x' * 25}-{'n' * (most + 1)}-{'n' * (most + 1)}-wstunnel")
    )


async def test_a_short_patience_with_silence(ann: Path, site: MakeSite) -> None:
    side = await site(node="vk", kubeconfig=str(ann), unreachable_toleration_s=60)
    assert bad(list(await side.check()), "silence")


def test_the_rights_are_those_of_the_docs_and_of_the_chart() -> None:
    """The Role in the how-to, the users' rights of the test stack (which its own test compares with the chart), and ours."""
    blocks = re.findall(r"```yaml\n(apiVersion: rbac.*?)```", HOW_TO.read_text(), re.DOTALL)
    documents = [d for b in blocks for d in yaml.safe_load_all(b)]

    def rights(rules: list[dict[str, Any]]) -> set[tuple[str, str]]:
        return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}

    role = rights(next(d for d in documents if d["kind"] == "Role")["rules"])
    cluster_role = rights(next(d for d in documents if d["kind"] == "ClusterRole")["rules"])
    ours = {(r.named, r.verb) for r in RIGHTS if r.namespaced}
    everywhere = {(r.named, r.verb) for r in RIGHTS if not r.namespaced}
    assert role == ours
    assert cluster_role == everywhere
    assert ours <= rights(USER_RULES)
    assert IMAGES and definition(node="vk")
