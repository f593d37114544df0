"""Requests to a real API server: rights, rules, silence, and credentials that are renewed."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from site_objects import MakeSite, token_of, until, with_user

from jupyter_offload.api.problems import BadInput, Conflict, Forbidden, NotFound, OffloadError, ProblemCode, Unavailable
from jupyter_offload.backends.kubernetes import account
from tests.stack.interlink.accounts import make_user
from tests.stack.kubernetes.client import Cluster
from tests.stack.kubernetes.tokens import signed_anew, signing_key


def pod(name: str = "w", cores: str = "1") -> dict[str, Any]:
    amounts = {"cpu": cores, "memory": "64Mi"}
    container = {"name": "c", "image": "x", "resources": {"requests": amounts, "limits": amounts}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], "automountServiceAccountToken": False}}


async def test_objects_come_and_go(ann: Path, namespace: str, site: MakeSite) -> None:
    api = (await site(node="vk", kubeconfig=str(ann))).api
    assert api.namespace == namespace
    made = await api.request("POST", api.path("pods"), body=pod())
    assert made["metadata"]["name"] == "w"
    listed = await api.request("GET", api.path("pods"), params={"fieldSelector": "metadata.name=w"})
    assert [p["metadata"]["uid"] for p in listed["items"]] == [made["metadata"]["uid"]]
    with pytest.raises(Conflict):
        await api.request("POST", api.path("pods"), body=pod())
    await api.request("DELETE", api.path("pods", "w"), body={"gracePeriodSeconds": 0})
    with pytest.raises(NotFound):
        await api.request("GET", api.path("pods", "w"))
    with pytest.raises(BadInput) as caught:
        await api.request("POST", api.path("pods"), body={"metadata": {"name": "w"}, "spec": {"containers": []}})
    assert caught.value.code is ProblemCode.site_refused
    assert "containers" in caught.value.message
    assert api.server_time_offset_s == pytest.approx(0, abs=30)


async def test_a_patch_merges(ann: Path, site: MakeSite) -> None:
    api = (await site(node="vk", kubeconfig=str(ann))).api
    await api.request("POST", api.path("secrets"), body={"metadata": {"name": "s"}, "stringData": {"a": "1"}})
    await api.request("PATCH", api.path("secrets", "s"), body={"metadata": {"labels": {"x": "y"}}})
    found = await api.request("GET", api.path("secrets", "s"))
    assert found["metadata"]["labels"] == {"x": "y"}
    assert "a" in found["data"]


async def test_what_rbac_denies_is_named_and_the_remedy_helps(
    kubernetes: Cluster, namespace: str, site: MakeSite
) -> None:
    kubeconfig = make_user(kubernetes, "poor", namespace, nodes=False, rules=[])
    api = (await site(node="vk", kubeconfig=str(kubeconfig))).api
    with pytest.raises(Forbidden) as caught:
        await api.request("GET", api.path("pods"))
    assert caught.value.code is ProblemCode.access_denied
    assert (
        f"'system:serviceaccount:{namespace}:poor' may not list pods in namespace '{namespace}'" in caught.value.message
    )
    hint = str(caught.value.hint)
    assert f"kubectl -n {namespace} create role offload-poor-list-pods --verb=list --resource=pods" in hint
    assert f"--serviceaccount={namespace}:poor" in hint
    _do(
        kubernetes,
        namespace,
        "offload-poor-list-pods",
        "poor",
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    )

    async def allowed() -> bool:
        try:
            return "items" in await api.request("GET", api.path("pods"))
        except Forbidden:
            return False

    assert await until(allowed, 30)


def _do(kubernetes: Cluster, namespace: str, role: str, user: str, rule: dict[str, Any]) -> None:
    """Do what the two commands of the hint do."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    kubernetes.make(f"{path}/roles", {"metadata": {"name": role}, "rules": [rule]})
    kubernetes.make(f"{path}/rolebindings", {
        "metadata": {"name": role}, "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": namespace}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
    })  # fmt: skip


async def test_another_user_sees_and_touches_nothing(
    kubernetes: Cluster, namespace: str, ann: Path, site: MakeSite
) -> None:
    mine = (await site(node="vk", kubeconfig=str(ann))).api
    await mine.request("POST", mine.path("pods"), body=pod())
    await mine.request("POST", mine.path("secrets"), body={"metadata": {"name": "w"}, "stringData": {"key": "x"}})
    eve = make_user(kubernetes, "eve", f"{namespace}-eve")
    theirs = (await site(node="vk", kubeconfig=str(eve), namespace=namespace)).api
    assert theirs.connection is not mine.connection
    for method, resource, name in (
        ("GET", "pods", ""), ("GET", "pods", "w"), ("DELETE", "pods", "w"), ("GET", "secrets", "w"), ("GET", "secrets", ""),
        ("PATCH", "secrets", "w"), ("GET", "events", ""),
    ):  # fmt: skip
        with pytest.raises(Forbidden) as caught:
            await theirs.request(method, theirs.path(resource, name), body={} if method == "PATCH" else None)
        assert caught.value.code is ProblemCode.access_denied
    own = (await site(node="vk", kubeconfig=str(eve))).api
    assert (await own.request("GET", own.path("pods")))["items"] == []
    await mine.request("DELETE", mine.path("pods", "w"), body={"gracePeriodSeconds": 0})


async def test_a_quota_says_what_is_used(kubernetes: Cluster, namespace: str, ann: Path, site: MakeSite) -> None:
    api = (await site(node="vk", kubeconfig=str(ann))).api
    quota = {"metadata": {"name": "compute"}, "spec": {"hard": {"requests.cpu": "2"}}}
    kubernetes.make(f"/api/v1/namespaces/{namespace}/resourcequotas", quota)

    async def refused() -> OffloadError | None:
        try:
            await api.request("POST", api.path("pods"), body=pod(cores="3"), params={"dryRun": "All"})
        except OffloadError as error:
            return error if error.code is ProblemCode.quota_exceeded else None
        return None

    error = await until(refused, 60)
    assert "Quota 'compute'" in error.message
    assert "asked requests.cpu=3" in error.message
    assert "of requests.cpu=2" in error.message


async def test_pod_security_and_limit_ranges(kubernetes: Cluster, namespace: str, ann: Path, site: MakeSite) -> None:
    api = (await site(node="vk", kubeconfig=str(ann))).api
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    merge = {"Content-Type": "application/merge-patch+json"}
    kubernetes.admin.patch(f"/api/v1/namespaces/{namespace}", json=label, headers=merge).raise_for_status()
    with_path = pod()
    with_path["spec"]["volumes"] = [{"name": "cvmfs", "hostPath": {"path": "/cvmfs"}}]
    largest = {"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}}
    kubernetes.make(f"/api/v1/namespaces/{namespace}/limitranges", largest)

    async def refusal(body: dict[str, Any], says: str) -> OffloadError | None:
        try:
            await api.request("POST", api.path("pods"), body=body, params={"dryRun": "All"})
        except OffloadError as error:
            return error if says in error.message else None
        return None

    for body, says in ((with_path, "PodSecurity"), (pod(cores="2"), "maximum cpu usage per Container")):
        error = await until(functools.partial(refusal, body, says), 30)
        assert error.code is ProblemCode.site_refused
        assert error.hint


async def test_a_silent_api_server_is_not_seen_and_comes_back(kubernetes: Cluster, ann: Path, site: MakeSite) -> None:
    api = (await site(node="vk", kubeconfig=str(ann))).api
    await api.request("GET", "/version")
    with kubernetes.silent():
        with pytest.raises(Unavailable) as caught:
            await api.request("GET", api.path("pods"), timeout_s=1)
        assert caught.value.transient
        assert caught.value.code is ProblemCode.site_unreachable
        assert "did not answer within 1 s" in caught.value.message
        assert "Nothing is known to be lost" in str(caught.value.hint)
    assert (await api.request("GET", api.path("pods"), timeout_s=60))["items"] == []


async def test_nobody_at_that_address(ann: Path, tmp_path: Path, site: MakeSite) -> None:
    user = {"token": token_of(ann)}
    away = with_user(ann, tmp_path / "away", user, {"server": "https://127.0.0.1:1"})
    with pytest.raises(Unavailable, match="cannot be reached"):
        await (await site(node="vk", kubeconfig=str(away))).api.request("GET", "/version")
    wrong = with_user(ann, tmp_path / "wrong", user, {"server": "https://[bad"})
    with pytest.raises(BadInput, match="no address"):
        await (await site(node="vk", kubeconfig=str(wrong))).api.request("GET", "/version")


async def test_an_api_server_of_another_ca_is_not_trusted(
    kubernetes: Cluster, ann: Path, tmp_path: Path, site: MakeSite
) -> None:
    from tests.stack.certificates import Authority

    (tmp_path / "other.pem").write_bytes(Authority("another").pem)
    cluster = {"certificate-authority": "other.pem", "certificate-authority-data": ""}
    kubeconfig = with_user(ann, tmp_path / "config", {"token": token_of(ann)}, cluster)
    with pytest.raises(Unavailable, match=r"(?i)certificate") as caught:
        await (await site(node="vk", kubeconfig=str(kubeconfig))).api.request("GET", "/version")
    assert "certificate-authority" in str(caught.value.hint)


async def test_no_proxy_by_accident(ann: Path, site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    api = (await site(node="vk", kubeconfig=str(ann))).api
    assert await api.request("GET", "/version")


async def test_an_expired_token_is_read_again_from_its_file(
    kubernetes: Cluster, ann: Path, tmp_path: Path, site: MakeSite
) -> None:
    good, file = token_of(ann), tmp_path / "token"
    kubeconfig = with_user(ann, tmp_path / "config", {"tokenFile": "token"})
    past = int(time.time()) - 3600
    expired = signed_anew(good, signing_key(kubernetes.folder), exp=past, iat=past - 60, nbf=past - 60)
    file.write_text(good)
    api = (await site(node="vk", kubeconfig=str(kubeconfig))).api
    assert await api.request("GET", api.path("pods"))
    # it expired, and nobody renewed it yet: read within the time that an account counts as read, then refused
    file.write_text(expired)
    api.connection.read()
    with pytest.raises(Forbidden) as caught:
        await api.request("GET", api.path("pods"))
    assert caught.value.code is ProblemCode.access_denied
    assert str(kubeconfig) in caught.value.message
    assert expired not in str(caught.value)
    # renewed: the very next request has it
    file.write_text(good)
    assert await api.request("GET", api.path("pods"))


async def test_a_program_gives_credentials(ann: Path, tmp_path: Path, site: MakeSite) -> None:
    runs = tmp_path / "runs"
    program = tmp_path / "login"
    program.write_text(
        f"#!{sys.executable}\nimport json\nopen({str(runs)!r}, 'a').write('x')\n"
        f"print(json.dumps({{'status': {{'token': {token_of(ann)!r}}}}}))\n"
    )
    program.chmod(0o700)
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login"}
    api = (await site(node="vk", kubeconfig=str(with_user(ann, tmp_path / "config", {"exec": plugin})))).api
    for _ in range(3):
        assert await api.request("GET", api.path("pods"))
    assert runs.read_text() == "x", "what it printed is kept"


async def test_the_account_of_a_pod(
    kubernetes: Cluster, namespace: str, ann: Path, tmp_path: Path, site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text(token_of(ann))
    (folder / "ca.crt").write_bytes(kubernetes.ca_file.read_bytes())
    (folder / "namespace").write_text(namespace)
    monkeypatch.setattr(account, "SERVICE_ACCOUNT", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", kubernetes.url.rpartition(":")[2])
    api = (await site(node="vk")).api
    assert api.namespace == namespace
    assert (await api.request("GET", api.path("pods")))["items"] == []


async def test_sites_of_one_account_share_a_connection(ann: Path, tmp_path: Path, site: MakeSite) -> None:
    one, two = await site(node="a", kubeconfig=str(ann)), await site(node="b", kubeconfig=str(ann), namespace="other")
    assert one.api.connection is two.api.connection
    assert one.api.namespace != two.api.namespace
    await one.api.request("GET", "/version")
    session = one.api.connection._session
    await one.close()
    await one.close()
    assert await two.api.request("GET", "/version"), "the other one still uses it"
    assert session is not None and two.api.connection._session is session
    await two.close()
    assert session.http.is_closed
    three = await site(node="c", kubeconfig=str(ann))
    assert three.api.connection is not two.api.connection
    assert await three.api.request("GET", "/version")


async def test_a_kubeconfig_that_comes_later(ann: Path, tmp_path: Path, namespace: str, site: MakeSite) -> None:
    path = tmp_path / "later"
    side = await site(node="vk", kubeconfig=str(path))
    with pytest.raises(BadInput, match="There is no kubeconfig"):
        _ = side.api.namespace
    assert "There is no kubeconfig" in (await side.health()).message
    path.write_bytes(ann.read_bytes())
    assert await side.api.request("GET", "/version")
    assert side.api.namespace == namespace
