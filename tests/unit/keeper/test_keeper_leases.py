"""Leases: taken, renewed in time, taken again, given back; what goes wrong is told and tried again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from jupyter_offload.keeper.relay import leases as module
from jupyter_offload.keeper.relay.leases import Leases
from jupyter_offload.keeper.relay.problems import refused, unreachable, unregistered
from jupyter_offload.keeper.relay.settings import RelayUse
from jupyter_offload.keeper.store import Record

USE = RelayUse(
    embedded=False,
    addresses=["relay.test:1"],
    domain="relay.test",
    ca_file=None,
    admission="https",
    lease_s=600,
    resume_s=60,
)


class Relay:
    """The relay as leases see it; what it does next is told by the test."""

    def __init__(self, lease_s: float = 600) -> None:
        self.lease_s = lease_s
        self.admitted: asyncio.Queue[str] = asyncio.Queue()
        self.withdrawn: asyncio.Queue[str] = asyncio.Queue()
        self.problems: list[Exception] = []
        self.hangs = False

    async def admit(self, record: Record) -> float:
        if self.hangs:
            await asyncio.Event().wait()
        if self.problems:
            raise self.problems.pop(0)
        self.admitted.put_nowait(record.id)
        return time.time() + self.lease_s

    async def withdraw(self, record: Record) -> None:
        if self.problems:
            raise self.problems.pop(0)
        self.withdrawn.put_nowait(record.id)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)


@pytest.fixture
def record(make_record: Callable[..., Record]) -> Record:
    return make_record(relay=USE)


async def next_of(queue: asyncio.Queue[str]) -> str:
    return await asyncio.wait_for(queue.get(), 20)


async def test_one_lease_for_a_cluster_however_often_it_is_asked_for(record: Record) -> None:
    relay, woken = Relay(), list[str]()
    leases = Leases(relay.admit, relay.withdraw, woken.append)
    leases.keep(record)
    leases.keep(record)
    assert await next_of(relay.admitted) == record.id
    await asyncio.sleep(0)
    assert relay.admitted.empty() and leases.problem(record.id) is None
    leases.take_again()
    assert await next_of(relay.admitted) == record.id
    await leases.stop()


async def test_it_is_renewed_well_before_it_ends(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def note(event: asyncio.Event, seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) < 50:
            event.set()
        await event.wait()

    relay = Relay(lease_s=1000)
    leases = Leases(relay.admit, relay.withdraw, lambda _: None)
    monkeypatch.setattr(module, "_wait", note)
    leases.keep(record)
    for _ in range(50):
        await next_of(relay.admitted)
    await leases.stop()
    assert min(pauses) > 290 and max(pauses) < 501
    assert len(set(pauses)) > 40, "different each time"


@pytest.mark.usefixtures("quick")
async def test_what_fails_is_told_and_tried_again(record: Record) -> None:
    relay, woken = Relay(), asyncio.Queue[str]()
    relay.problems = [
        refused("Your token is not accepted.", "Log in again."),
        OSError("no route"),
        KeyError("a bug of ours"),
    ]
    leases = Leases(relay.admit, relay.withdraw, woken.put_nowait)
    leases.keep(record)
    await next_of(woken)
    problem = leases.problem(record.id)
    assert problem is not None and (problem.code.value, problem.hint) == ("relay-refused", "Log in again.")
    await next_of(woken)
    problem = leases.problem(record.id)
    assert problem is not None and problem.code.value == "relay-unreachable" and "no route" in problem.message
    await next_of(relay.admitted)
    assert leases.problem(record.id) is None or await next_of(woken)
    await asyncio.sleep(0)
    assert leases.problem(record.id) is None
    await leases.stop()


@pytest.mark.usefixtures("quick")
async def test_a_relay_that_hangs_is_a_problem(record: Record) -> None:
    relay, woken = Relay(), asyncio.Queue[str]()
    relay.hangs = True
    leases = Leases(relay.admit, relay.withdraw, woken.put_nowait)
    leases.keep(record)
    await next_of(woken)
    problem = leases.problem(record.id)
    assert problem is not None and problem.code.value == "relay-unreachable"
    relay.hangs = False
    await next_of(relay.admitted)
    await leases.stop()


@pytest.mark.usefixtures("quick")
async def test_a_failed_renewal_is_told_only_when_the_lease_runs_out(record: Record) -> None:
    relay, woken = Relay(lease_s=600), asyncio.Queue[str]()
    leases = Leases(relay.admit, relay.withdraw, woken.put_nowait)
    leases.keep(record)
    await next_of(relay.admitted)
    relay.problems = [unreachable("Gone.")] * 1000
    lease = leases._leases[record.id]
    lease.again.set()
    await next_of(woken)
    assert leases.problem(record.id) is None, "there is time enough"
    lease.admitted_at -= 500
    lease.expires_at -= 500
    problem = leases.problem(record.id)
    assert problem is not None and problem.message == "Gone."
    await leases.stop()


@pytest.mark.usefixtures("quick")
async def test_giving_back_is_tried_until_it_is_done(record: Record) -> None:
    relay = Relay()
    leases = Leases(relay.admit, relay.withdraw, lambda _: None)
    leases.keep(record)
    await next_of(relay.admitted)
    relay.problems = [OSError("no route"), unreachable("Gone.")]
    await leases.give_back(record)
    assert await next_of(relay.withdrawn) == record.id
    await leases.give_back(record)  # by a keeper that does not know that it was done
    assert await next_of(relay.withdrawn) == record.id
    assert relay.admitted.empty()
    await leases.stop()


def test_what_the_scheduler_says_of_its_relay() -> None:
    assert unregistered("relay.test", None) is None
    assert unregistered("relay.test", {"relay": None}) is None
    assert unregistered("relay.test", {"relay": {"registered": True, "problem": None}}) is None
    assert unregistered("relay.test", {"relay": {"registered": False, "problem": None}}) is None, "it has just begun"
    told = unregistered("relay.test", {"relay": {"registered": False, "problem": "Connection refused."}})
    assert told is not None and "relay.test" in told.message and "Connection refused." in told.message
    assert told.hint is not None and "jupyter offload doctor" in told.hint
