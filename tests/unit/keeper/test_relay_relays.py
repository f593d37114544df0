"""Which relay a cluster uses, and certificates of jobs that are revoked even when the relay is not there to be told."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from jupyter_offload.api.problems import BadInput
from jupyter_offload.keeper.relay import relays as module
from jupyter_offload.keeper.relay.embedded import guessed_host
from jupyter_offload.keeper.relay.problems import RelayProblem, unreachable
from jupyter_offload.keeper.relay.relays import Relays
from jupyter_offload.keeper.relay.settings import RelayUse
from jupyter_offload.keeper.store import Record, Store
from jupyter_offload.ports import Capability
from jupyter_offload.relay.names import is_fingerprint

FACILITY = "addresses: ['relay.test:443']\nadmission: {admission}\nlease_s: 600\n"


class Admission:
    """The relay's door, as the test opens and closes it."""

    uses: ClassVar[list[RelayUse]] = []
    said: ClassVar[list[tuple[Any, ...]]] = []
    closed = False

    def __init__(self, use: RelayUse) -> None:
        self.uses.append(use)

    async def _answer(self, *said: Any) -> None:
        if Admission.closed:
            raise unreachable("The door is closed.")
        self.said.append(said)

    async def admit(self, folder: Path, lease_s: float, revoked: list[str]) -> float:
        await self._answer("admit", sorted(revoked))
        return time.time() + lease_s

    async def revoke(self, cluster: str, pattern: str) -> None:
        await self._answer("revoke", pattern)

    async def withdraw(self, cluster: str) -> None:
        await self._answer("withdraw", cluster)


class Backend:
    capabilities = frozenset({Capability.dial_out})


@pytest.fixture
def relay_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DATA", "CONFIG", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("XDG_RUNTIME_DIR", tempfile.mkdtemp(dir="/tmp"))
    path = tmp_path / "config" / "offload" / "relay.yaml"
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(module, "Admission", Admission)
    Admission.uses.clear()
    Admission.said.clear()
    Admission.closed = False
    return path


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "records.sqlite")
    yield store
    await store.close()


@pytest.fixture
async def bound(
    relay_file: Path, store: Store, make_record: Callable[..., Record], tmp_path: Path
) -> AsyncIterator[tuple[Relays, Record]]:
    relay_file.write_text(FACILITY.format(admission="/run/first.sock"))
    relays = Relays(store, lambda _: None)
    record = make_record(folder=str(tmp_path / "cluster"))
    record = await store.insert(record.model_copy(update={"relay": await relays.bind(record)}), [])
    yield relays, record
    await relays.stop()


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.01)


async def test_a_cluster_keeps_the_relay_it_was_started_with(bound: tuple[Relays, Record], relay_file: Path) -> None:
    relays, record = bound
    use = record.relay
    assert use is not None and is_fingerprint(use.cluster)
    assert (use.addresses, use.domain, use.embedded) == (["relay.test:443"], "relay.test", False)
    relay_file.write_text(FACILITY.format(admission="/run/second.sock").replace("443", "444"))
    relays.keep(record)
    await until(lambda: Admission.said)
    assert (Admission.uses[-1].admission, Admission.uses[-1].addresses) == ("/run/second.sock", ["relay.test:443"])
    relay_file.write_text(FACILITY.format(admission="/run/third.sock").replace("relay.test", "relay.other"))
    await relays.give_back(record)
    assert Admission.said[-1] == ("withdraw", use.cluster)
    assert Admission.uses[-1].admission == "/run/first.sock", "another relay knows nothing of it"


async def test_a_job_that_is_over_is_revoked(bound: tuple[Relays, Record], store: Store) -> None:
    relays, record = bound
    dial_out = relays.dial_out(record)
    assert dial_out is not None
    await dial_out.revoke("never")
    assert Admission.said == []
    await dial_out.credentials("a", 3600)
    await dial_out.revoke("a")
    await dial_out.revoke("a")
    assert Admission.said == [("revoke", "w-a-*")] * 2
    newest = store.get(record.id)
    assert newest is not None and newest.relay is not None
    assert (list(newest.relay.revoked), newest.relay.issued) == (["w-a-*"], {})


async def test_a_relay_that_cannot_be_told_now_is_told_with_the_lease(bound: tuple[Relays, Record]) -> None:
    relays, record = bound
    dial_out = relays.dial_out(record)
    assert dial_out is not None
    relays.keep(record)
    await until(lambda: Admission.said == [("admit", [])])
    await dial_out.credentials("a", 3600)
    await dial_out.credentials("b", 3600)
    Admission.closed = True
    await dial_out.revoke("a")
    Admission.closed = False
    await until(lambda: Admission.said[-1] == ("admit", ["w-a-*"]))


async def test_what_is_over_by_itself_need_not_be_said(bound: tuple[Relays, Record], store: Store) -> None:
    relays, record = bound
    dial_out = relays.dial_out(record)
    assert dial_out is not None
    await dial_out.credentials("a", -3601)
    await dial_out.credentials("b", 3600)
    await dial_out.revoke("a")
    await dial_out.revoke("b")
    newest = store.get(record.id)
    assert newest is not None and newest.relay is not None and list(newest.relay.revoked) == ["w-b-*"]


async def test_mistakes_are_said_before_and_after(
    relay_file: Path, store: Store, make_record: Callable[..., Record]
) -> None:
    relay_file.write_text("addresses: [x]\n")
    relays = Relays(store, lambda _: None)
    with pytest.raises(BadInput) as caught:
        await relays.require("far", Backend())  # type: ignore[arg-type]
    assert caught.value.code.value == "site-unhealthy" and len(caught.value.errors) == 2
    with pytest.raises(RelayProblem, match=r"relay\.yaml is wrong: ") as problem:
        await relays.bind(make_record())
    assert problem.value.reason.code.value == "relay-refused"
    relay_file.unlink()
    (warning,) = await relays.require("far", Backend())  # type: ignore[arg-type]
    assert guessed_host() in warning
    for text in ("embedded: {host: login.test}\n", FACILITY.format(admission="/run/a.sock")):
        relay_file.write_text(text)
        assert await relays.require("far", Backend()) == []  # type: ignore[arg-type]
    await relays.stop()


async def test_a_cluster_without_a_relay_has_nothing_of_it(
    relay_file: Path, store: Store, make_record: Callable[..., Record]
) -> None:
    relays, record = Relays(store, lambda _: None), make_record()
    relays.keep(record)
    await relays.give_back(record)
    assert (
        relays.dial_out(record) is None
        and relays.problem(record, {"relay": {"registered": False, "problem": "x"}}) is None
    )
    assert Admission.said == []
    await relays.stop()
