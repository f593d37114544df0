"""A real API server: it issues and reviews tokens of service accounts, and roles really restrict."""

from __future__ import annotations

import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.stack.kubernetes.client import Cluster, connect
from tests.stack.kubernetes.programs import MODULE
from tests.stack.kubernetes.tokens import signed_anew, signing_key

AUDIENCE = "relay.example.org"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


@pytest.fixture(scope="module")
def account(kubernetes: Cluster) -> str:
    kubernetes.make_account("reviewed")
    return "reviewed"


@pytest.fixture
def token(kubernetes: Cluster, account: str) -> str:
    return kubernetes.token(account, audiences=[AUDIENCE])


@pytest.fixture(scope="module")
def own_key(kubernetes: Cluster) -> rsa.RSAPrivateKey:
    return signing_key(kubernetes.folder)


def test_it_is_the_version_of_its_module(kubernetes: Cluster) -> None:
    version = kubernetes.admin.get("/version").raise_for_status().json()
    assert version["gitVersion"] == MODULE.version("k8s.io/kubernetes")


def test_its_files_are_private(kubernetes: Cluster) -> None:
    assert kubernetes.folder.stat().st_mode & 0o077 == 0
    for name in ("accounts.key", "admin.pem", "admin.kubeconfig", "apiserver.pem"):
        assert (kubernetes.folder / name).stat().st_mode & 0o077 == 0, name


def test_a_token_is_accepted_for_its_audience(kubernetes: Cluster, token: str) -> None:
    status = kubernetes.review(token, [AUDIENCE, "another.example.org"])
    assert status["authenticated"] is True
    assert status["user"]["username"] == f"system:serviceaccount:{kubernetes.namespace}:reviewed"
    assert f"system:serviceaccounts:{kubernetes.namespace}" in status["user"]["groups"]
    assert status["audiences"] == [AUDIENCE]


def test_a_token_is_refused_for_another_audience(kubernetes: Cluster, token: str) -> None:
    assert not kubernetes.review(token, ["another.example.org"]).get("authenticated", False)


def test_a_foreign_token_is_refused(kubernetes: Cluster, token: str, own_key: rsa.RSAPrivateKey) -> None:
    """Signed anew by the server's key it is accepted: it is the key that makes the difference."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert kubernetes.review(signed_anew(token, own_key), [AUDIENCE])["authenticated"] is True
    assert not kubernetes.review(signed_anew(token, stranger), [AUDIENCE]).get("authenticated", False)


def test_an_expired_token_is_refused(kubernetes: Cluster, token: str, own_key: rsa.RSAPrivateKey) -> None:
    now = int(time.time())
    begun = {"iat": now - 1200, "nbf": now - 1200}
    living = signed_anew(token, own_key, **begun, exp=now + 600)
    assert kubernetes.review(living, [AUDIENCE])["authenticated"] is True
    expired = signed_anew(token, own_key, **begun, exp=now - 600)
    assert not kubernetes.review(expired, [AUDIENCE]).get("authenticated", False)


def test_a_token_ends_with_its_account(kubernetes: Cluster) -> None:
    kubernetes.make_account("short-lived")
    token = kubernetes.token("short-lived", audiences=[AUDIENCE])
    path = f"/api/v1/namespaces/{kubernetes.namespace}/serviceaccounts/short-lived"
    kubernetes.admin.delete(path).raise_for_status()
    # the server's own copy of the accounts follows, and it may remember the token for 10 s
    kubernetes.until(lambda: not kubernetes.review(token, [AUDIENCE]).get("authenticated", False))


def test_without_a_token_nobody_sees_anything(kubernetes: Cluster) -> None:
    with connect(kubernetes.folder, token="") as nobody:
        assert nobody.get(f"/api/v1/namespaces/{kubernetes.namespace}/pods").status_code in (401, 403)


def test_a_role_restricts(kubernetes: Cluster) -> None:
    """Of two kinds of objects in two namespaces the account may see one kind in one."""
    kubernetes.make_account("lister")
    kubernetes.make_namespace("elsewhere")
    path = f"/api/v1/namespaces/{kubernetes.namespace}"
    with connect(kubernetes.folder, token=kubernetes.token("lister")) as lister:
        assert lister.get(f"{path}/pods").status_code == 403
        kubernetes.allow("lister", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}])
        kubernetes.until(lambda: lister.get(f"{path}/pods").status_code == 200)
        assert lister.get(f"{path}/secrets").status_code == 403
        assert lister.get("/api/v1/namespaces/elsewhere/pods").status_code == 403


def test_reviewing_tokens_is_a_right_of_its_own(kubernetes: Cluster, token: str) -> None:
    """As a relay has it that runs in the cluster."""
    kubernetes.make_account("reviewer")
    body = {"spec": {"token": token, "audiences": [AUDIENCE]}}
    with connect(kubernetes.folder, token=kubernetes.token("reviewer")) as reviewer:
        assert reviewer.post(REVIEWS, json=body).status_code == 403
        kubernetes.allow_everywhere("reviewer", "system:auth-delegator")
        kubernetes.until(lambda: reviewer.post(REVIEWS, json=body).status_code == 201)
        answer = reviewer.post(REVIEWS, json=body)
        assert answer.json()["status"]["authenticated"] is True
