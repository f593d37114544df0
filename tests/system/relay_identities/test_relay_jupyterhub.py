"""A relay takes users of a real JupyterHub, by the token that each session of theirs has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jupyter_offload.relay.client import RelayRefused, RelayUnavailable
from tests.system.hub.conftest import USER, Hub, start_hub, until
from tests.system.hub.conftest import proxy_command as proxy_command
from tests.system.relay_service.relay_process import RelayProcess, admit


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, proxy_command: Path) -> Iterator[Hub]:
    made = start_hub(tmp_path_factory.mktemp("hub"), proxy_command, [])
    try:
        made.log_in()
        made.start_server()
        yield made
    finally:
        print(made.log()[-5000:])
        made.end()


@pytest.fixture(scope="module")
def session_token(hub: Hub) -> str:
    """The token in the environment of the user's Jupyter server, which a keeper is handed."""

    def find() -> str | None:
        for process in hub.processes("jupyterhub-singleuser"):
            with contextlib.suppress(psutil.Error):
                return process.environ().get("JUPYTERHUB_API_TOKEN")
        return None

    return str(until(find))


def relay_for(hub: Hub, folder: Path, **changes: object) -> RelayProcess:
    identity = {"type": "jupyterhub", "api_url": f"{hub.url}hub/api", "timeout_s": 5} | changes
    return RelayProcess(folder, identities=[identity])


@pytest.fixture
def relay(hub: Hub, tmp_path: Path) -> Iterator[RelayProcess]:
    made = relay_for(hub, tmp_path / "relay")
    yield made.start()
    made.dispose()


async def test_a_user_is_who_the_hub_says(relay: RelayProcess, session_token: str, tmp_path: Path) -> None:
    async with relay.there(session_token) as client:
        lease = await admit(client, tmp_path / "keys")
        assert lease.identity == f"hub:{USER}"
        await client.withdraw(lease.cluster)
    assert session_token not in relay.log


async def test_a_token_that_the_hub_does_not_know(relay: RelayProcess, tmp_path: Path) -> None:
    async with relay.there("0" * 32) as client:
        with pytest.raises(RelayRefused, match="does not know this token") as refused:
            await admit(client, tmp_path / "keys")
        assert refused.value.code == "unauthenticated"


@pytest.mark.parametrize(("groups", "refusal"), [(["other", "dask"], None), (["other"], "none of the groups other")])
async def test_users_of_a_group(
    hub: Hub, session_token: str, tmp_path: Path, groups: list[str], refusal: str | None
) -> None:
    relay = relay_for(hub, tmp_path / "relay", groups=groups, realm="lab")
    try:
        async with relay.start().there(session_token) as client:
            if refusal is None:
                assert (await admit(client, tmp_path / "keys")).identity == f"hub:lab:{USER}"
                return
            with pytest.raises(RelayRefused, match=refusal) as refused:
                await admit(client, tmp_path / "keys")
            assert refused.value.code == "not-allowed"
    finally:
        relay.dispose()


async def test_a_lease_is_renewed_while_the_hub_is_down(hub: Hub, session_token: str, tmp_path: Path) -> None:
    """By whoever has the cluster's key; nothing new is admitted meanwhile, and nobody is refused for good."""
    relay = relay_for(hub, tmp_path / "relay", timeout_s=2)
    try:
        async with relay.start().there(session_token) as client:
            lease = await admit(client, tmp_path / "keys", 60)
            relay.kill()
            relay.start()  # it remembers no token
            os.kill(hub.process.pid, 19)
            renewed = await admit(client, tmp_path / "keys", 60)
            assert (renewed.cluster, renewed.identity) == (lease.cluster, lease.identity)
            assert renewed.expires_at >= lease.expires_at
            with pytest.raises(RelayUnavailable) as unavailable:
                await admit(client, tmp_path / "new")
            assert unavailable.value.code == "identity-provider-unavailable"
            assert [e["confirmed"] for e in relay.events("lease-granted")] == ["yes", "no"]
            os.kill(hub.process.pid, 18)
            await admit(client, tmp_path / "new", 60)
    finally:
        os.kill(hub.process.pid, 18)
        relay.dispose()
