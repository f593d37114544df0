"""The chart renders what the API server takes, and what is in it is what our own programs read."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jupyter_offload.backends.kubernetes.rbac import RIGHTS
from jupyter_offload.keeper.relay.settings import RelayFile
from jupyter_offload.keeper.site_files import read_site_file
from jupyter_offload.relay.hub.config import RelayConfig
from tests.stack import helm
from tests.stack.interlink.accounts import USER_RULES
from tests.stack.kubernetes.client import Cluster

DEPLOY = Path(__file__).parents[3] / "deploy" / "helm"
CHART = DEPLOY / "jupyter-offload"
FACILITY = DEPLOY / "examples" / "facility.yaml"
EVERYTHING: dict[str, Any] = {
    "relay": {
        "image": "facility/relay:1", "domain": "relay.example.org", "tlsSecret": "relay-tls", "replicas": 2,
        "identities": [
            {"type": "jupyterhub", "api_url": "http://hub:8081/hub/api"},
            {"type": "kubernetes", "audiences": ["relay.example.org"]},
        ],
        "settings": {"drain_s": "20 s", "listen": {"reuse_port": False}},
        "state": {"accessModes": ["ReadWriteMany"], "storageClassName": "shared"},
        "service": {"type": "NodePort", "nodePort": 30443, "annotations": {"a": "b"}},
        "metrics": {"tokenSecret": "prometheus"},
        "nodeSelector": {"pool": "edge"}, "tolerations": [{"key": "edge", "operator": "Exists"}],
    },
    "rbac": {
        "daskOperator": True, "hub": {"namespace": "jupyter", "serviceAccount": "hub"},
        "subjects": [{"namespace": "jupyter", "serviceAccount": "chart-user"}],
    },
    "networkPolicy": {"enabled": True, "egress": [{"ports": [{"port": 8081}]}]},
}  # fmt: skip


@pytest.fixture(scope="session")
def program() -> Path:
    if not helm.built():
        pytest.fail("Helm is not built yet: python -m tests.stack build helm", pytrace=False)
    return helm.MODULE.program("helm")


class Helm:
    """Helm as the administrator of one control plane."""

    def __init__(self, program: Path, cluster: Cluster, folder: Path) -> None:
        self._program = program
        self._folder = folder
        kubeconfig = cluster.folder / "admin.kubeconfig"
        self._env = {"KUBECONFIG": str(kubeconfig), "HOME": str(folder), "HELM_NAMESPACE": cluster.namespace}

    def values(self, values: dict[str, Any] | Path) -> str:
        if isinstance(values, Path):
            return str(values)
        path = self._folder / "values.yaml"
        path.write_text(yaml.safe_dump(values))
        return str(path)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._program), *words], env=self._env, capture_output=True, text=True, timeout=120, check=False
        )

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, values: dict[str, Any] | Path) -> list[dict[str, Any]]:
        """Return what the chart renders, after the API server has looked at each of the objects."""
        told = self.ok(
            "install", "offload", str(CHART), "--dry-run=server", "-f", self.values(values), "--output", "json"
        )
        return [o for o in yaml.safe_load_all(json.loads(told)["manifest"]) if o]


@pytest.fixture
def chart(program, kubernetes, tmp_path) -> Helm:
    return Helm(program, kubernetes, tmp_path)


@pytest.fixture
def installed(chart) -> Iterator[str]:
    """The chart, installed under a name."""
    values = chart.values(EVERYTHING | {"relay": {"enabled": False}})
    chart.ok("install", "here", str(CHART), "-f", values)
    yield "here"
    chart.run("uninstall", "here")


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [o for o in objects if o["kind"] == kind]


def path_of(made: dict[str, Any], namespace: str) -> str:
    """Return where the API server has the collection of an object."""
    group, kind = made["apiVersion"], made["kind"].lower()
    plural = {"networkpolicy": "networkpolicies"}.get(kind, kind + "s")
    base = f"/api/{group}" if "/" not in group else f"/apis/{group}"
    if kind.startswith("cluster"):
        return f"{base}/{plural}"
    return f"{base}/namespaces/{made['metadata'].get('namespace', namespace)}/{plural}"


@pytest.mark.parametrize("values", [FACILITY, EVERYTHING], ids=["facility", "everything"])
def test_the_api_server_takes_every_object(chart, kubernetes, values) -> None:
    """Strictly: a misspelt field is a mistake, where Helm's own dry run would drop it."""
    objects = chart.objects(values)
    assert {"Deployment", "Service", "ConfigMap", "ClusterRole"} <= {o["kind"] for o in objects}
    for made in objects:
        answer = kubernetes.admin.post(
            path_of(made, kubernetes.namespace),
            params={"dryRun": "All", "fieldValidation": "Strict"},
            json=made,
        )
        assert answer.status_code == 201, (made["kind"], answer.text)


@pytest.mark.parametrize("values", [FACILITY, EVERYTHING], ids=["facility", "everything"])
def test_our_own_programs_read_what_is_in_it(chart, values, tmp_path) -> None:
    """The relay's configuration, users' relay file and each site."""
    maps = {o["metadata"]["name"]: o["data"] or {} for o in of_kind(chart.objects(values), "ConfigMap")}
    relay = RelayConfig.model_validate(yaml.safe_load(maps["offload-relay"]["relay.yaml"]))
    users = RelayFile.model_validate(yaml.safe_load(maps["jupyter-offload"]["relay.yaml"]))
    assert users.domain == relay.domain
    port = 443 if values is FACILITY else 30443
    assert users.addresses == [f"{relay.domain}:{port}"]
    for name, text in maps["jupyter-offload-sites"].items():
        (tmp_path / name).write_text(text)
        assert not read_site_file(tmp_path / name).problems
    assert bool(maps["jupyter-offload-sites"]) is (values is FACILITY)


def test_the_relay_has_no_rights_it_does_not_need(chart) -> None:
    """A token of the API server only where it asks there; never root, nothing writable but its state."""
    for values, asks in ((FACILITY, False), (EVERYTHING, True)):
        objects = chart.objects(values)
        spec = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is asks
        delegators = [b for b in of_kind(objects, "ClusterRoleBinding") if "auth-delegator" in b["roleRef"]["name"]]
        assert bool(delegators) is asks
        container = spec["containers"][0]["securityContext"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert container["readOnlyRootFilesystem"]
        assert not container["allowPrivilegeEscalation"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": ""}, "relay.image"),
        ({"domain": ""}, "relay.domain"),
        ({"tlsSecret": ""}, "relay.tlsSecret"),
        ({"identities": []}, "relay.identities"),
        ({"state": {"accessModes": ["ReadWriteOnce"]}}, "relay.replicas"),
        ({"service": {"type": "NodePort", "nodePort": None}}, "relay.service.nodePort"),
        ({"domian": "x"}, "domian"),
    ],
)
def test_what_is_missing_is_named(chart, change, told) -> None:
    values = EVERYTHING | {"relay": EVERYTHING["relay"] | change}
    refused = chart.run("template", "offload", str(CHART), "--kube-version", "1.36.0", "-f", chart.values(values))
    assert refused.returncode != 0
    assert told in refused.stderr


def test_an_account_of_the_chart_may_do_what_it_needs_and_no_more(installed, kubernetes) -> None:
    def may(verb: str, resource: str, namespace: str, group: str = "") -> bool:
        kind, _, sub = resource.partition("/")
        what = {"verb": verb, "group": group, "resource": kind, "subresource": sub, "namespace": namespace}
        account = f"system:serviceaccount:{kubernetes.namespace}:chart-user"
        review = {"spec": {"user": account, "resourceAttributes": what}}
        answer = kubernetes.make("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    here = kubernetes.namespace
    kubernetes.until(lambda: may("create", "pods", here))
    for verb, resource in (("delete", "pods"), ("get", "pods/log"), ("create", "secrets"), ("list", "events")):
        assert may(verb, resource, here), (verb, resource)
        assert not may(verb, resource, "default"), (verb, resource)
    assert may("create", "daskclusters", here, "kubernetes.dask.org")
    assert may("list", "nodes", "")
    for verb, resource in (("patch", "nodes"), ("create", "pods/exec"), ("create", "serviceaccounts/token"),
                           ("patch", "pods"), ("create", "rolebindings")):  # fmt: skip
        assert not may(verb, resource, here), (verb, resource)


def test_the_role_of_users_is_what_the_backend_needs(chart) -> None:
    """No more and no less; with the Dask Operator it is more."""
    values = EVERYTHING | {"rbac": EVERYTHING["rbac"] | {"daskOperator": False}}
    roles = {o["metadata"]["name"]: o["rules"] for o in of_kind(chart.objects(values), "ClusterRole")}

    def granted(name: str) -> set[tuple[str, str]]:
        return {(r, v) for rule in roles[name] for r in rule["resources"] for v in rule["verbs"]}

    needed = {(r.named, r.verb) for r in RIGHTS if r.namespaced}
    assert granted("jupyter-offload-user") == needed
    assert granted("jupyter-offload-nodes") == {(r.named, r.verb) for r in RIGHTS if not r.namespaced}
    assert {(r, v) for rule in USER_RULES for r in rule["resources"] for v in rule["verbs"]} == needed


def test_uninstalling_leaves_nothing(chart, installed, kubernetes) -> None:
    chart.ok("uninstall", installed)
    for path in (
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        f"/api/v1/namespaces/{kubernetes.namespace}/configmaps",
    ):
        listed = kubernetes.admin.get(path, params={"labelSelector": f"app.kubernetes.io/instance={installed}"}).json()
        assert not listed["items"]
