"""A relay takes service accounts of a real Kubernetes cluster for who they are, and only those it is for."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa

from jupyter_offload.relay.certificates import make_cluster_certificates, make_relay_certificate
from jupyter_offload.relay.client import Lease, RelayClient, RelayRefused, RelayUnavailable, sign_with
from tests.stack.kubernetes.client import Cluster, connect
from tests.stack.kubernetes.tokens import signed_anew, signing_key
from tests.stack.processes import Processes

DOMAIN = "relay.test"
STRANGERS = "strangers"
SELF_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
CREATE_REVIEWS = {"group": "authentication.k8s.io", "resource": "tokenreviews", "verb": "create"}


@dataclass
class Relay:
    """A relay in a process of its own, which knows service accounts of one namespace."""

    address: str
    ca_file: Path
    log: Path

    def client(self, token: str) -> RelayClient:
        return RelayClient(self.address, DOMAIN, ca_file=self.ca_file, token=lambda: token)

    async def admit(self, token: str, keys: Path) -> Lease:
        """Ask for the lease of the cluster whose certificates lie in a folder."""
        files = make_cluster_certificates(keys, "a-cluster")
        async with self.client(token) as client:
            sign = sign_with((keys / "ca-key.pem").read_bytes())
            return await client.admit(files.ca_file.read_text(), sign, lease_s=600)


@pytest.fixture(scope="module")
def accounts(kubernetes: Cluster) -> None:
    """The relay's own account, which may review tokens, two users, and somebody in another namespace."""
    for name in ("relay", "ann", "ben"):
        kubernetes.make_account(name)
    kubernetes.allow_everywhere("relay", "system:auth-delegator")
    kubernetes.make_namespace(STRANGERS)
    kubernetes.make_account("ann", STRANGERS)
    body = {"spec": {"resourceAttributes": CREATE_REVIEWS}}
    with connect(kubernetes.folder, kubernetes.token("relay")) as relay:
        # the server's own copy of the roles follows them
        kubernetes.until(lambda: relay.post(SELF_REVIEW, json=body).json()["status"]["allowed"])


@pytest.fixture(scope="module")
def start(
    kubernetes: Cluster, accounts: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Relay]]:
    """Start a relay that asks with the token of this account; further words are fields of its identities."""
    started: list[Processes] = []

    def make(account: str, **changes: Any) -> Relay:
        folder = tmp_path_factory.mktemp("relay")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        ca_file, certificate_file = make_relay_certificate(folder / "tls", DOMAIN)
        (folder / "token").write_text(kubernetes.token(account))
        identity = {
            "type": "kubernetes", "api_url": kubernetes.url, "ca_file": str(kubernetes.ca_file),
            "token_file": str(folder / "token"), "audiences": [DOMAIN], "namespaces": [kubernetes.namespace],
        }  # fmt: skip
        config = {
            "domain": DOMAIN, "certificate_file": str(certificate_file), "state_dir": str(folder / "state"),
            "listen": {"host": "127.0.0.1", "port": port}, "identities": [identity | changes],
            "shortest_lease_s": 1, "drain_s": 0,
        }  # fmt: skip
        (folder / "relay.yaml").write_text(yaml.safe_dump(config))
        processes = Processes(folder)
        started.append(processes)
        processes.start("relay", [sys.executable, "-m", "jupyter_offload.relay.hub", str(folder / "relay.yaml")])
        log = folder / "relay.log"
        processes.wait_until("relay", lambda: '"ready"' in log.read_text(), timeout_s=60)
        return Relay(f"127.0.0.1:{port}", ca_file, log)

    yield make
    for processes in started:
        processes.stop(["relay"], timeout_s=20)


@pytest.fixture(scope="module")
def relay(start: Callable[..., Relay]) -> Relay:
    return start("relay")


async def test_an_account_has_its_own_clusters(relay: Relay, kubernetes: Cluster, tmp_path: Path) -> None:
    ann, ben = (kubernetes.token(name, audiences=[DOMAIN]) for name in ("ann", "ben"))
    lease = await relay.admit(ann, tmp_path)
    assert lease.identity == f"k8s:system:serviceaccount:{kubernetes.namespace}:ann"

    async with relay.client(ben) as client:
        with pytest.raises(RelayRefused) as refused:
            await client.withdraw(lease.cluster)
        assert refused.value.code == "not-yours"

    # a token is for an hour or so, the account is the same
    async with relay.client(kubernetes.token("ann", audiences=[DOMAIN])) as client:
        status = await client.describe(lease.cluster)
        assert status is not None
        assert status.lease.identity == lease.identity
        await client.withdraw(lease.cluster)
        assert await client.describe(lease.cluster) is None


async def test_an_account_of_another_namespace_is_refused(relay: Relay, kubernetes: Cluster, tmp_path: Path) -> None:
    with pytest.raises(RelayRefused, match=f"namespace {STRANGERS}") as refused:
        await relay.admit(kubernetes.token("ann", STRANGERS, audiences=[DOMAIN]), tmp_path)
    assert refused.value.code == "not-allowed"


@pytest.mark.parametrize("audiences", [[], ["another.test"]], ids=["the API server's", "another"])
async def test_a_token_for_somebody_else_is_refused(
    relay: Relay, kubernetes: Cluster, tmp_path: Path, audiences: list[str]
) -> None:
    """Among them the one that every pod has, for the API server: whoever steals it must not get in here."""
    with pytest.raises(RelayRefused) as refused:
        await relay.admit(kubernetes.token("ann", audiences=audiences), tmp_path)
    assert refused.value.code == "unauthenticated"


async def test_a_token_of_another_key_is_refused(relay: Relay, kubernetes: Cluster, tmp_path: Path) -> None:
    token = kubernetes.token("ann", audiences=[DOMAIN])
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(RelayRefused) as refused:
        await relay.admit(signed_anew(token, stranger), tmp_path)
    assert refused.value.code == "unauthenticated"
    assert await relay.admit(signed_anew(token, signing_key(kubernetes.folder)), tmp_path)


async def test_a_token_that_expired_is_refused(relay: Relay, kubernetes: Cluster, tmp_path: Path) -> None:
    begun = int(time.time()) - 1200
    expired = signed_anew(
        kubernetes.token("ann", audiences=[DOMAIN]),
        signing_key(kubernetes.folder),
        iat=begun,
        nbf=begun,
        exp=begun + 600,
    )
    with pytest.raises(RelayRefused) as refused:
        await relay.admit(expired, tmp_path)
    assert refused.value.code == "unauthenticated"


async def test_a_relay_that_may_not_ask_refuses_nobody_for_good(
    start: Callable[..., Relay], kubernetes: Cluster, tmp_path: Path
) -> None:
    """It is the relay that lacks a right, so the keeper tries again, and the relay's log says what to do."""
    relay = start("ben")
    token = kubernetes.token("ann", audiences=[DOMAIN])
    with pytest.raises(RelayUnavailable) as refused:
        await relay.admit(token, tmp_path)
    assert refused.value.code == "identity-provider-unavailable"
    assert "may not create TokenReviews" in relay.log.read_text()
    assert token not in relay.log.read_text()


async def test_a_lease_is_renewed_while_the_api_server_is_silent(
    start: Callable[..., Relay], kubernetes: Cluster, tmp_path: Path
) -> None:
    """By whoever has the cluster's key; nothing new is admitted meanwhile."""
    relay = start("relay", timeout_s=1)
    lease = await relay.admit(kubernetes.token("ann", audiences=[DOMAIN]), tmp_path / "known")
    fresh = kubernetes.token("ann", audiences=[DOMAIN])  # which the relay does not remember
    with kubernetes.silent():
        renewed = await relay.admit(fresh, tmp_path / "known")
        assert (renewed.cluster, renewed.identity) == (lease.cluster, lease.identity)
        with pytest.raises(RelayUnavailable) as refused:
            await relay.admit(fresh, tmp_path / "new")
        assert refused.value.code == "identity-provider-unavailable"
    assert (await relay.admit(fresh, tmp_path / "new")).identity == lease.identity
