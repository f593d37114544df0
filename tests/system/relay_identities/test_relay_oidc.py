"""A relay takes users of a real OpenID Connect provider, and only tokens that are for it."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jupyter_offload.relay.client import RelayRefused, RelayUnavailable
from jupyter_offload.relay.hub.config import OidcIdentity
from jupyter_offload.relay.hub.identities.base import Asker
from jupyter_offload.relay.hub.identities.oidc import OidcUsers
from jupyter_offload.relay.hub.problems import Problem, ProviderDown
from tests.stack.oidc import AUDIENCE, Provider
from tests.stack.oidc.provider import make_key
from tests.system.relay_service.relay_process import RelayProcess, admit


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    made = Provider(tmp_path / "provider")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def relay(provider: Provider, tmp_path: Path) -> Iterator[RelayProcess]:
    made = RelayProcess(tmp_path / "relay", identities=[identity(provider)])
    yield made.start()
    made.dispose()


def identity(provider: Provider, **changes: Any) -> dict[str, Any]:
    return {"type": "oidc", "issuer": provider.issuer, "audience": AUDIENCE, "timeout_s": 5} | changes


def users(provider: Provider, **changes: Any) -> OidcUsers:
    return OidcUsers(OidcIdentity.model_validate(identity(provider, **changes)), again_s=0)


async def ask(some: OidcUsers, token: str) -> str:
    asker = Asker("test", token)
    assert some.takes(asker)
    return await some.identify(asker)


async def test_a_user_has_their_own_clusters(relay: RelayProcess, provider: Provider, tmp_path: Path) -> None:
    alice, bob = provider.token("alice"), provider.token("bob")
    async with relay.there(alice) as client:
        lease = await admit(client, tmp_path / "keys")
        assert lease.identity == "oidc:127.0.0.1:alice"
    async with relay.there(bob) as client:
        for attempt in (client.withdraw(lease.cluster), admit(client, tmp_path / "keys")):
            with pytest.raises(RelayRefused) as refused:
                await attempt
            assert refused.value.code == "not-yours"
    async with relay.there(provider.token("alice")) as client:
        await client.withdraw(lease.cluster)
    assert alice not in relay.log and bob not in relay.log


async def test_known_keys_are_good_while_the_provider_is_silent(
    relay: RelayProcess, provider: Provider, tmp_path: Path
) -> None:
    alice = provider.token("alice")
    provider.stop()
    async with relay.there(alice) as client:
        with pytest.raises(RelayUnavailable) as unavailable:
            await admit(client, tmp_path / "keys")
        assert unavailable.value.code == "identity-provider-unavailable"
        provider.start()
        async with asyncio.timeout(60):
            while True:
                try:
                    await admit(client, tmp_path / "keys")
                    break
                except RelayUnavailable:
                    await asyncio.sleep(0.2)
        provider.stop()
        await admit(client, tmp_path / "more keys")


async def test_only_tokens_for_this_relay(provider: Provider) -> None:
    some = users(provider)
    with pytest.raises(Problem, match="Audience") as refused:
        await ask(some, provider.token("alice", "https://somebody.else"))
    assert refused.value.status == 401
    assert await ask(some, provider.token("alice")) == "oidc:127.0.0.1:alice"
    other = users(provider, issuer=provider.issuer + "/")
    assert not other.takes(Asker("test", provider.token("alice")))
    await some.close()


async def test_a_token_expires(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_offload.relay.hub.identities import oidc

    monkeypatch.setattr(oidc, "_LEEWAY_S", 0)
    some, token = users(provider), provider.token("hasty")
    end = jwt.decode(token, options={"verify_signature": False})["exp"]
    async with asyncio.timeout(60):
        while time.time() <= end:
            await asyncio.sleep(0.1)
    with pytest.raises(Problem, match="expired"):
        await ask(some, token)
    await some.close()


def with_secret(said: dict[str, Any], secret: bytes) -> str:
    """Sign with a shared secret, even one that a library refuses to take for one."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT", "kid": "first"}, said)]
    content = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    code = hmac.digest(secret, content, "sha256")
    return (content + b"." + base64.urlsafe_b64encode(code).rstrip(b"=")).decode()


def private(key: dict[str, Any]) -> Any:
    return jwt.PyJWK.from_dict(key).key


FORGED: dict[str, Callable[[dict[str, Any], dict[str, Any]], str]] = {
    "unsigned": lambda said, _: jwt.encode(said, None, "none", headers={"kid": "first"}),
    "a shared secret": lambda said, _: with_secret(said, b"x" * 32),
    "the public key as a shared secret": lambda said, own: with_secret(
        said, private(own).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    ),
    "another key": lambda said, _: jwt.encode(said, private(make_key("first")), "RS256", headers={"kid": "first"}),
    "an unknown key": lambda said, _: jwt.encode(said, private(make_key("x")), "RS256", headers={"kid": "unknown"}),
}


@pytest.mark.parametrize("how", FORGED)
async def test_forged_tokens(provider: Provider, how: str) -> None:
    some = users(provider)
    said = jwt.decode(provider.token("alice"), options={"verify_signature": False})
    forged = FORGED[how](said, provider.keys[0])
    with pytest.raises(Problem) as refused:
        await ask(some, forged)
    assert refused.value.status == 401
    await some.close()


async def test_tokens_that_lack_something(provider: Provider) -> None:
    some = users(provider)
    said = jwt.decode(provider.token("alice"), options={"verify_signature": False})
    assert await ask(some, jwt.encode(said, private(provider.keys[0]), "RS256", headers={"kid": "first"}))
    for missing in ("exp", "aud", "sub"):
        token = jwt.encode(
            {k: v for k, v in said.items() if k != missing}, private(provider.keys[0]), "RS256",
            headers={"kid": "first"},
        )  # fmt: skip
        with pytest.raises(Problem) as refused:
            await ask(some, token)
        assert refused.value.status == 401
    await some.close()


async def test_a_claim_can_be_required_and_another_be_the_name(provider: Provider) -> None:
    some = users(provider, require={"groups": "dask"}, claim="client_id")
    assert await ask(some, provider.token("alice")) == "oidc:127.0.0.1:alice"
    with pytest.raises(Problem, match="no groups dask") as refused:
        await ask(some, provider.token("bob"))
    assert refused.value.status == 403
    await some.close()


async def test_new_keys_are_found_and_old_ones_forgotten(provider: Provider) -> None:
    some, old = users(provider), provider.token("alice")
    assert await ask(some, old)
    provider.stop()
    provider.keys = [make_key("second", "ES256")]
    provider.start()
    assert await ask(some, provider.token("alice")) == "oidc:127.0.0.1:alice"
    with pytest.raises(Problem, match="does not publish"):
        await ask(some, old)
    await some.close()


async def test_strangers_with_unknown_keys_do_not_make_it_ask_again_and_again(provider: Provider) -> None:
    some = OidcUsers(OidcIdentity.model_validate(identity(provider)), again_s=600)
    assert await ask(some, provider.token("alice"))
    provider.stop()  # whoever asked now would hear nothing
    forged = jwt.encode({"iss": provider.issuer}, private(make_key("x")), "RS256", headers={"kid": "unknown"})
    with pytest.raises(Problem, match="does not publish"):
        await ask(some, forged)
    await some.close()


async def test_a_provider_that_calls_itself_otherwise_is_none(provider: Provider) -> None:
    some = users(provider, issuer=f"http://localhost:{provider.port}")
    said = {"iss": f"http://localhost:{provider.port}"}
    token = jwt.encode(said, private(provider.keys[0]), "RS256", headers={"kid": "first"})
    with pytest.raises(ProviderDown):
        await ask(some, token)
    await some.close()
