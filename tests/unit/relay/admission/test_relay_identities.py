"""Who asks: which credential goes to whom, what is remembered, and what is turned away before anybody is asked."""

from __future__ import annotations

import asyncio
import base64
import getpass
import json
import logging
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from relay_desk import DOMAIN, Relay, make_cluster, running

from jupyter_offload.relay.client import RelayRefused
from jupyter_offload.relay.hub import throttle
from jupyter_offload.relay.hub.config import HubIdentity, KubernetesIdentity, OidcIdentity, UnixIdentity
from jupyter_offload.relay.hub.identities import Asker, Identities, UnixPeer
from jupyter_offload.relay.hub.identities.chain import providers_of
from jupyter_offload.relay.hub.identities.kubernetes import ServiceAccounts
from jupyter_offload.relay.hub.identities.unix import UnixUsers, peer_of
from jupyter_offload.relay.hub.problems import Problem, ProviderDown, not_allowed, unauthenticated
from jupyter_offload.relay.hub.throttle import Throttle

UNIX = UnixIdentity(type="unix")
HUB = HubIdentity(type="jupyterhub", api_url="http://127.0.0.1:1/hub/api")
OIDC = OidcIdentity(type="oidc", issuer="https://id.test", audience="a")
K8S = KubernetesIdentity(type="kubernetes", api_url="https://127.0.0.1:1", audiences=["a"])


def web_token(issuer: object) -> str:
    said = base64.urlsafe_b64encode(json.dumps({"iss": issuer}).encode()).decode().rstrip("=")
    return f"e30.{said}.c2ln"


@dataclass
class Provider:
    """Says what it is told to say, and counts how often it was asked."""

    says: dict[str, str | Problem] = field(default_factory=dict)
    prefix: str = "test:"
    cache_s: float = 60.0
    asked: int = 0

    def takes(self, asker: Asker) -> bool:
        return asker.token in self.says

    async def identify(self, asker: Asker) -> str:
        self.asked += 1
        said = self.says[asker.token or ""]
        if isinstance(said, Problem):
            raise said
        return said

    async def close(self) -> None:
        pass


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_each_credential_goes_to_whom_it_is_for() -> None:
    unix, hub, oidc, k8s = providers_of([UNIX, HUB, OIDC, K8S])
    peer = UnixPeer(1, 1)
    for asker, takers in (
        (Asker("x", None, peer), [unix]),
        (Asker("x", "0123abcd", peer), [hub]),
        (Asker("x", "0123abcd"), [hub]),
        (Asker("x", web_token("https://id.test")), [oidc]),
        (Asker("x", web_token("https://kubernetes.default.svc")), [k8s]),
        (Asker("x", web_token(7)), [hub]),
        (Asker("x", "a.b.c"), [hub]),
        (Asker("x", None), []),
    ):
        assert [p for p in (unix, hub, oidc, k8s) if p.takes(asker)] == takers, asker


async def test_an_answer_is_remembered_for_a_minute() -> None:
    clock, one = Clock(), Provider({"good": "test:a", "bad": unauthenticated("no")})
    some = Identities([one], Throttle(clock), clock)
    for _ in range(3):
        assert await some.identify(Asker("x", "good")) == "test:a"
        with pytest.raises(Problem, match="no"):
            await some.identify(Asker("x", "bad"))
    assert one.asked == 2
    clock.now += 11
    with pytest.raises(Problem, match="no"):
        await some.identify(Asker("x", "bad"))
    assert one.asked == 3
    clock.now += 50
    await some.identify(Asker("x", "good"))
    assert one.asked == 4
    assert b"good" not in repr(some._remembered).encode()


async def test_one_who_is_silent_may_be_the_one_who_knows() -> None:
    down = ProviderDown(("other:",), "no answer")
    knows, silent, refuses = (
        Provider({"t": "test:a"}), Provider({"t": down}, "other:"), Provider({"t": unauthenticated("no")})
    )  # fmt: skip
    clock = Clock()
    assert await Identities([silent, refuses, knows], Throttle(clock)).identify(Asker("x", "t")) == "test:a"
    some = Identities([refuses, silent], Throttle(clock))
    for _ in range(throttle.BURST + 5):  # an outage is nobody's failure
        with pytest.raises(ProviderDown) as caught:
            await some.identify(Asker("x", "t"))
    assert caught.value.prefixes == ("other:",)
    assert silent.asked == throttle.BURST + 6  # nothing of it is remembered


async def test_to_be_known_and_not_allowed_says_more_than_to_be_unknown() -> None:
    some = Identities([Provider({"t": not_allowed("group")}), Provider({"t": unauthenticated("no")})], Throttle())
    with pytest.raises(Problem, match="group"):
        await some.identify(Asker("x", "t"))


async def test_a_flood_of_failures_is_turned_away_and_whoever_is_known_is_not() -> None:
    clock = Clock()
    says: dict[str, str | Problem] = {str(n): unauthenticated("no") for n in range(1000)}
    one = Provider(says | {"good": "test:a", "new": "test:b"})
    some = Identities([one], Throttle(clock), clock)
    await some.identify(Asker("hub", "good"))
    for n in range(200):
        with pytest.raises(Problem):
            await some.identify(Asker("hub", str(n)))
    assert one.asked == 1 + throttle.BURST
    assert await some.identify(Asker("hub", "good")) == "test:a"
    with pytest.raises(Problem, match="too-many-requests") as caught:
        await some.identify(Asker("hub", "new"))
    assert caught.value.status == 429 and caught.value.retry_after_s
    assert await some.identify(Asker("elsewhere", "new")) == "test:b"
    clock.now += 2
    clock_before = one.asked
    with pytest.raises(Problem, match="no"):
        await some.identify(Asker("hub", "900"))
    assert one.asked == clock_before + 1


def test_sources_that_failed_are_bounded() -> None:
    some = Throttle(Clock())
    for n in range(throttle._MOST_SOURCES + 100):
        some.failed(str(n))
    assert len(some._failures) == throttle._MOST_SOURCES


@pytest.mark.parametrize("token", ["a b", "a\nb", "a\u00e9b", "x" * 9000, "a\x7f"])
async def test_what_is_no_token_is_shown_to_nobody(token: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    some = Identities(providers_of([HUB, K8S]), Throttle())
    with pytest.raises(Problem, match="one word"):
        await some.identify(Asker("x", token))
    assert token not in caplog.text
    assert token not in repr(Asker("x", token))


async def test_the_relays_own_token_stays_out_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = tmp_path / "token"
    own.write_text("my secret\ntoken")
    provider = ServiceAccounts(K8S.model_copy(update={"token_file": own, "ca_file": None}))
    with pytest.raises(ProviderDown):
        await provider.identify(Asker("x", web_token("k")))
    assert "has no token" in caplog.text and "secret" not in caplog.text


async def test_users_of_this_host() -> None:
    here, there = socket.socketpair()
    with here, there:
        peer = peer_of(there)
    assert peer == UnixPeer(os.getuid(), os.getgid())
    me = getpass.getuser()
    asker = Asker("x", None, peer)
    for allow in ("any", [me], [os.getuid()], ["nobody", str(os.getuid())]):
        users = UnixUsers(UnixIdentity.model_validate({"type": "unix", "allow": allow}))
        assert await users.identify(asker) == f"unix:{me}"
    with pytest.raises(Problem, match="may not use"):
        await UnixUsers(UnixIdentity(type="unix", allow=["nobody", 54321])).identify(asker)
    assert await UnixUsers(UNIX).identify(Asker("x", None, UnixPeer(54321, 1))) == "unix:54321"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
async def test_another_user_is_another_identity(relay: Relay, short: Path) -> None:
    cluster = make_cluster()
    async with relay.here() as client:
        await client.admit(cluster.ca_pem, cluster.sign, 60)
    short.chmod(0o755)
    relay.socket.chmod(0o666)
    code = (
        "import os, sys, socket; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        "s.settimeout(20); s.connect(sys.argv[1]);"
        f"s.sendall(b'DELETE /v1/clusters/{cluster.name} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n');"
        "print(s.makefile().read())"
    )
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/env", "python3", "-c", code, str(relay.socket), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    assert b"403" in said and b"not-yours" in said, said


async def test_headers_that_are_not_understood(relay: Relay) -> None:
    way = httpx.AsyncHTTPTransport(uds=str(relay.socket))
    async with httpx.AsyncClient(transport=way, base_url=f"http://{DOMAIN}") as http:
        path = "/v1/clusters/" + "a" * 52
        for value in ("Basic YTpi", "Bearer", "whatever"):
            answer = await http.get(path, headers={"Authorization": value})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"
        two = httpx.Headers([("Authorization", "Bearer a"), ("Authorization", "Bearer b")])
        assert "not understood" in (await http.get(path, headers=two)).json()["detail"]
        # nobody is believed about where they come from
        answer = await http.get(path, headers={"X-Forwarded-For": "10.0.0.1", "X-Real-Ip": "10.0.0.1"})
        assert answer.status_code == 404


async def test_a_client_sends_nothing_that_is_no_token(relay: Relay) -> None:
    async with relay.here("my secret\ntoken") as client:
        with pytest.raises(RelayRefused) as refused:
            await client.describe("a" * 52)
    assert refused.value.code == "bad-token"
    assert "secret" not in str(refused.value)


async def test_a_wrong_key_again_and_again_is_throttled(tmp_path: Path, short: Path) -> None:
    cluster, other = make_cluster(), make_cluster()
    async with running(tmp_path, short / "s") as relay, relay.here() as client:
        codes = []
        for _ in range(throttle.BURST + 10):
            with pytest.raises(Exception) as caught:
                await client.admit(cluster.ca_pem, other.sign, 60)
            codes.append(caught.value.code)  # type: ignore[attr-defined]
        assert codes[0] == "bad-proof"
        assert codes[-1] == "too-many-requests"
