"""Admission at a whole relay: the proof, the lease, who owns it, and what a client is told."""

from __future__ import annotations

import base64
import datetime
import getpass
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from relay_desk import DOMAIN, Cluster, Relay, make_cluster, running

from jupyter_offload.relay import proof
from jupyter_offload.relay.client import RelayClient, RelayRefused, RelayUnavailable
from jupyter_offload.relay.hub import challenges
from jupyter_offload.relay.hub.admission import LONGEST_BODY

ME = f"unix:{getpass.getuser()}"


def raw(relay: Relay) -> httpx.AsyncClient:
    """A client that sends what it is told to."""
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(relay.socket)), base_url=f"http://{DOMAIN}")


async def body(http: httpx.AsyncClient, cluster: Cluster, **changes: Any) -> dict[str, Any]:
    """A right request, with changes."""
    challenge = (await http.post("/v1/challenges")).json()["challenge"]
    said = {"ca_pem": cluster.ca_pem, "challenge": challenge, "lease_s": 60} | changes
    signed = cluster.sign(proof.message(DOMAIN, cluster.name, said["challenge"]))
    return {"proof": base64.b64encode(signed).decode()} | said


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
async def test_the_key_of_the_ca_admits(relay: Relay, kind: str) -> None:
    cluster = make_cluster(kind)
    async with relay.here() as client:
        lease = await client.admit(cluster.ca_pem, cluster.sign, 600)
        assert (lease.cluster, lease.identity, lease.lease_s, lease.revoked) == (cluster.name, ME, 600, ())
        assert lease.expires_at == pytest.approx(time.time() + 600, abs=5)
        status = await client.describe(cluster.name)
        assert status is not None
        assert (status.lease.identity, status.peers, status.connections, status.bytes) == (ME, (), 0, 0)


async def test_a_renewal_keeps_everything_and_a_withdrawal_nothing(relay: Relay) -> None:
    cluster = make_cluster()
    async with relay.here() as client:
        await client.admit(cluster.ca_pem, cluster.sign, 60, ["w-a-*"])
        assert (await client.revoke(cluster.name, "w-b-*")).revoked == ("w-a-*", "w-b-*")
        again = await client.admit(cluster.ca_pem, cluster.sign, 120, ["w-c-*"])
        assert (again.lease_s, again.revoked) == (120, ("w-a-*", "w-b-*", "w-c-*"))
        await client.withdraw(cluster.name)
        await client.withdraw(cluster.name)
        assert await client.describe(cluster.name) is None
        with pytest.raises(RelayRefused, match="not admitted"):
            await client.revoke(cluster.name, "w-d-*")
        assert (await client.admit(cluster.ca_pem, cluster.sign, 60)).revoked == ()


@pytest.mark.parametrize("relay", [{"shortest_lease_s": 60, "longest_lease_s": 100}], indirect=True)
async def test_the_length_of_a_lease_is_bounded(relay: Relay) -> None:
    cluster = make_cluster()
    async with relay.here() as client:
        assert (await client.admit(cluster.ca_pem, cluster.sign, 10_000)).lease_s == 100
        assert (await client.admit(cluster.ca_pem, cluster.sign, 0)).lease_s == 60


async def test_only_the_key_of_this_ca_for_this_relay_cluster_and_challenge(relay: Relay) -> None:
    cluster, other = make_cluster(), make_cluster()
    async with raw(relay) as http:
        right = await body(http, cluster)
        challenge = right["challenge"]
        wrong = {
            "another key": other.sign(proof.message(DOMAIN, cluster.name, challenge)),
            "another relay": cluster.sign(proof.message("relay.elsewhere", cluster.name, challenge)),
            "another cluster": cluster.sign(proof.message(DOMAIN, other.name, challenge)),
            "another challenge": cluster.sign(proof.message(DOMAIN, cluster.name, "x" + challenge)),
            "nothing": b"",
        }
        for what, signature in wrong.items():
            said = right | {"proof": base64.b64encode(signature).decode()}
            answer = await http.put(f"/v1/clusters/{cluster.name}", json=said)
            assert (answer.status_code, answer.json()["code"]) == (403, "bad-proof"), what
        assert relay.lease_files() == []
        assert (await http.put(f"/v1/clusters/{cluster.name}", json=right)).status_code == 200


async def test_a_challenge_works_once_and_only_where_it_was_made(relay: Relay) -> None:
    cluster = make_cluster()
    async with raw(relay) as http:
        first = await body(http, cluster)
        assert (await http.put(f"/v1/clusters/{cluster.name}", json=first)).status_code == 200
        strange = challenges.Challenges().issue()
        for said in (first, await body(http, cluster, challenge=strange), await body(http, cluster, challenge="é-1")):
            answer = await http.put(f"/v1/clusters/{cluster.name}", json=said)
            assert (answer.status_code, answer.json()["code"]) == (409, "challenge-expired")


async def test_a_client_gets_another_challenge_when_one_is_unknown(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when two relays share a name."""
    issue, strange = challenges.Challenges.issue, challenges.Challenges().issue()
    made: list[str] = []

    def other_first(self: challenges.Challenges) -> str:
        made.append(issue(self) if made else strange)
        return made[-1]

    monkeypatch.setattr(challenges.Challenges, "issue", other_first)
    cluster = make_cluster()
    async with relay.here() as client:
        assert (await client.admit(cluster.ca_pem, cluster.sign, 60)).cluster == cluster.name
    assert len(made) == 2


async def test_certificates_that_are_no_cluster(relay: Relay) -> None:
    cluster = make_cluster()
    leaf = make_cluster(ca=False)
    expired = make_cluster(end=-datetime.timedelta(days=1))
    async with raw(relay) as http:
        for ca_pem, name, word in (
            (cluster.ca_pem, leaf.name, "fingerprint"),
            (leaf.ca_pem, leaf.name, "may not sign"),
            (expired.ca_pem, expired.name, "valid from"),
            (cluster.ca_pem * 2, cluster.name, "not one certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", cluster.name, "not one certificate"),
            ("", cluster.name, "not one certificate"),
        ):
            said = await body(http, cluster, ca_pem=ca_pem)
            answer = await http.put(f"/v1/clusters/{name}", json=said)
            assert (answer.status_code, answer.json()["code"]) == (400, "bad-request"), word
            assert word in answer.json()["detail"]


async def test_requests_that_are_none(relay: Relay) -> None:
    cluster = make_cluster()
    async with raw(relay) as http:
        path = f"/v1/clusters/{cluster.name}"
        right = await body(http, cluster)
        for said, word in (
            (right | {"lease_s": -1}, "lease_s"),
            (right | {"lease_s": "soon"}, "lease_s"),
            (right | {"colour": "red"}, "colour"),
            ({k: v for k, v in right.items() if k != "proof"}, "proof"),
            (right | {"revoked": ["w a"]}, "revoked"),
            (right | {"revoked": [f"w-{n}-*" for n in range(7000)]}, "revoked"),
        ):
            answer = await http.put(path, json=said)
            assert answer.status_code == 400, (word, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert word in answer.json()["detail"]
            assert answer.json()["hint"] is not None
        assert (await http.put(path, content=b"{")).status_code == 400
        assert (await http.put(path, content=b"[" * 60000)).status_code == 400
        assert (await http.put("/v1/clusters/short", json=right)).status_code == 400
        assert (await http.put(f"{path}/revoked/w%20a")).json()["code"] == "bad-request"
        assert (await http.get("/v1/other")).json()["code"] == "not-found"
        assert (await http.post("/health")).json()["code"] == "method-not-allowed"
        assert (await http.put(path, json=await body(http, cluster))).status_code == 200


async def test_a_body_has_its_bound(relay: Relay) -> None:
    async with raw(relay) as http:
        said = await body(http, make_cluster(), proof="A" * LONGEST_BODY)
        try:
            answer = await http.put("/v1/clusters/" + "a" * 52, json=said)
        except httpx.TransportError:
            pass  # it was cut while it was sending
        else:
            assert answer.status_code == 400
        assert (await http.get("/health")).status_code == 200


async def test_who_asks_is_needed_for_everything_about_a_cluster(relay: Relay) -> None:
    """By TLS nobody is known without a token; the relay here trusts its host alone."""
    cluster = make_cluster()
    async with relay.here() as client:
        await client.admit(cluster.ca_pem, cluster.sign, 60)
    for token, word in ((None, "says not who asks"), ("a-token", "issues such tokens")):
        async with relay.there(token) as client:
            assert (await client.health()).status == "ok"
            for attempt in (
                lambda: client.admit(cluster.ca_pem, cluster.sign, 60),
                lambda: client.describe(cluster.name),
                lambda: client.revoke(cluster.name, "w-a-*"),
                lambda: client.withdraw(cluster.name),
            ):
                with pytest.raises(RelayRefused, match=word) as caught:
                    await attempt()
                assert caught.value.code == "unauthenticated"
    async with relay.here() as client:
        assert await client.describe(cluster.name) is not None


@pytest.mark.parametrize("relay", [{"quota": {"clusters": 2}}], indirect=True)
async def test_an_identity_has_so_many_clusters(relay: Relay) -> None:
    clusters = [make_cluster() for _ in range(3)]
    async with relay.here() as client:
        for cluster in clusters[:2]:
            await client.admit(cluster.ca_pem, cluster.sign, 60)
        with pytest.raises(RelayRefused, match="2 clusters here, of 2") as caught:
            await client.admit(clusters[2].ca_pem, clusters[2].sign, 60)
        assert caught.value.code == "quota-exceeded"
        await client.admit(clusters[0].ca_pem, clusters[0].sign, 60)  # renewals are not more
        await client.withdraw(clusters[0].name)
        await client.admit(clusters[2].ca_pem, clusters[2].sign, 60)


@pytest.mark.parametrize(
    "relay",
    [{"quota": {"clusters": 0}, "quotas": [{"identity": "unix:*", "clusters": 1}, {"identity": "*", "clusters": 0}]}],
    indirect=True,
)
async def test_some_have_another_quota(relay: Relay) -> None:
    cluster = make_cluster()
    async with relay.here() as client:
        await client.admit(cluster.ca_pem, cluster.sign, 60)


async def test_redeemed_challenges_are_bounded_by_identity() -> None:
    now = 0.0
    some = challenges.Challenges(lambda: now)
    for _ in range(challenges.MOST_REDEEMED):
        one = some.issue()
        some.check(one, "a")
        some.redeem(one, "a")
    with pytest.raises(Exception, match="too-many-requests"):
        some.check(some.issue(), "a")
    some.check(some.issue(), "b")
    now = challenges.LIFE_S + 1
    some.check(some.issue(), "a")


async def test_a_challenge_expires() -> None:
    now = 0.0
    some = challenges.Challenges(lambda: now)
    one = some.issue()
    now = challenges.LIFE_S
    some.check(one, "a")
    now = challenges.LIFE_S + 1
    with pytest.raises(Exception, match="was good for"):
        some.check(one, "a")


async def test_a_client_says_what_is_wrong_with_the_way(relay: Relay, tmp_path: Path) -> None:
    with pytest.raises(RelayUnavailable, match=r"is not relay\.other") as caught:
        async with RelayClient(relay.address, "relay.other", ca_file=relay.ca_file) as client:
            await client.health()
    assert caught.value.code == "wrong-domain"
    with pytest.raises(RelayUnavailable, match="that can be trusted") as caught:
        async with RelayClient(relay.address, DOMAIN) as client:
            await client.health()
    assert caught.value.code == "untrusted"
    with pytest.raises(RelayUnavailable, match="cannot be reached"):
        async with RelayClient(str(tmp_path / "none"), DOMAIN) as client:
            await client.health()
    with pytest.raises(RelayUnavailable, match="cannot be read"):
        async with RelayClient(relay.address, DOMAIN, ca_file=tmp_path / "none") as client:
            await client.health()


async def test_problems_are_documents(relay: Relay) -> None:
    async with raw(relay) as http:
        answer = await http.get("/v1/clusters/" + "a" * 52)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert "server" not in answer.headers
        assert json.loads(answer.text) == {
            "type": "about:blank", "title": "not-found", "status": 404, "code": "not-found",
            "detail": f"The cluster {'a' * 52} is not admitted here.", "hint": "Admit it.",
        }  # fmt: skip


async def test_leases_are_private_files_that_survive(tmp_path: Path, short: Path) -> None:
    cluster = make_cluster()
    async with running(tmp_path, short / "s") as relay, relay.here() as client:
        await client.admit(cluster.ca_pem, cluster.sign, 60, ["w-a-*"])
        (file,) = relay.lease_files()
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
    async with running(tmp_path, short / "s") as relay, relay.here() as client:
        status = await client.describe(cluster.name)
        assert status is not None
        assert status.lease.revoked == ("w-a-*",)
        assert 0 < status.lease.expires_at - time.time() <= 60
