"""Refusals of an API server, in its own words as it was heard to say them, become errors with a remedy."""

from __future__ import annotations

import pytest

from jupyter_offload.api.problems import BadInput, Conflict, Forbidden, NotFound, OffloadError, ProblemCode, Unavailable
from jupyter_offload.backends.kubernetes.answers import error_of
from jupyter_offload.backends.kubernetes.rbac import RIGHTS, grant

RBAC = (
    'pods is forbidden: User "system:serviceaccount:jupyter:ann" cannot create resource "pods" in API group ""'
    ' in the namespace "jupyter"'
)
NODES = 'nodes is forbidden: User "ann" cannot list resource "nodes" in API group "" at the cluster scope'
QUOTA = (
    'pods "w" is forbidden: exceeded quota: compute, requested: requests.cpu=4,requests.memory=1Gi,'
    " used: requests.cpu=8,requests.memory=1Gi, limited: requests.cpu=10,requests.memory=20Gi"
)
SECURITY = 'pods "w" is forbidden: violates PodSecurity "baseline:latest": hostPath volumes (volume "path-0")'


def error(status: int, message: str = "") -> OffloadError:
    return error_of(status, {"kind": "Status", "message": message}, "POST pods", "kubeconfig /k (context c)")


def test_rbac_names_who_may_not_do_what_and_grants_it() -> None:
    found = error(403, RBAC)
    assert isinstance(found, Forbidden)
    assert found.code is ProblemCode.access_denied
    assert (
        found.message == "The account 'system:serviceaccount:jupyter:ann' may not create pods in namespace 'jupyter'."
    )
    assert "kubectl -n jupyter create role offload-ann-create-pods --verb=create --resource=pods" in str(found.hint)
    assert "--role=offload-ann-create-pods --serviceaccount=jupyter:ann" in str(found.hint)


def test_rbac_of_the_whole_cluster() -> None:
    found = error(403, NODES)
    assert "create clusterrole offload-ann-list-nodes --verb=list --resource=nodes" in str(found.hint)
    assert "--clusterrole=offload-ann-list-nodes --user=ann" in str(found.hint)


def test_subresources_and_groups_are_named_as_kubectl_does() -> None:
    assert "--resource=pods/log" in grant("ann", [("pods/log", ["get"], "")], "jupyter")
    assert "--resource=daskclusters.kubernetes.dask.org" in grant(
        "a", [("daskclusters", ["get"], "kubernetes.dask.org")], "x"
    )


def test_quota_says_what_was_asked_and_what_is_used() -> None:
    found = error(403, QUOTA)
    assert type(found) is BadInput
    assert found.code is ProblemCode.quota_exceeded
    for part in ("'compute'", "asked requests.cpu=4", "used requests.cpu=8", "of requests.cpu=10"):
        assert part in found.message


def test_a_quota_that_wants_what_we_do_not_write() -> None:
    found = error(403, 'pods "w" is forbidden: failed quota: q: must specify limits.ephemeral-storage for: worker')
    assert found.code is ProblemCode.quota_exceeded
    assert "limits.ephemeral-storage" in found.message


@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        (403, SECURITY, "pod-security.kubernetes.io/enforce=privileged"),
        (403, 'pods "w" is forbidden: maximum cpu usage per Container is 1, but limit is 2', "LimitRange"),
        (403, 'pods "w" is forbidden: namespace jupyter is being terminated', "options.namespace"),
        (422, 'Pod "w" is invalid: spec.containers[0].image: Required value', "rule of the cluster"),
        (400, 'admission webhook "policy.example.org" denied the request: no registry but ours', "administrator"),
    ],
)
def test_rules_of_the_site(status: int, message: str, hint: str) -> None:
    found = error(status, message)
    assert type(found) is BadInput
    assert found.code is ProblemCode.site_refused
    assert message[1:] in found.message
    assert hint in str(found.hint)


def test_other_refusals() -> None:
    assert isinstance(error(404, 'pods "w" not found'), NotFound)
    assert isinstance(error(409, 'pods "w" already exists'), Conflict)
    expired = error(401, "Unauthorized")
    assert isinstance(expired, Forbidden)
    assert "kubeconfig /k (context c)" in expired.message


@pytest.mark.parametrize("status", [410, 429, 500, 502, 503, 504])
def test_what_may_be_over_in_a_moment(status: int) -> None:
    found = error(status, "etcdserver: request timed out")
    assert isinstance(found, Unavailable)
    assert found.transient
    assert found.code is ProblemCode.site_unreachable


def test_bodies_that_are_no_status() -> None:
    for status in (400, 401, 403, 404, 409, 422, 500):
        assert error_of(status, {}, "GET pods", "x").message
        assert error_of(status, {"message": None}, "GET pods", "x").message


def test_rights_say_what_each_is_for() -> None:
    assert all(r.why for r in RIGHTS)
    assert len({(r.named, r.verb) for r in RIGHTS}) == len(RIGHTS)
