"""Clusters whose scheduler the site runs, as the keeper sees them. The site here says what a real one cannot be made to say."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from jupyter_offload.api import locations
from jupyter_offload.api.models import Adaptive, Phase, Profile, Reason, ReasonCode
from jupyter_offload.api.problems import Forbidden, ProblemCode, Unavailable
from jupyter_offload.keeper.adoption import Adoption
from jupyter_offload.keeper.clusters import _not_usable as not_usable
from jupyter_offload.keeper.lifecycle import Do, Observation, Sight, next_action
from jupyter_offload.keeper.own_schedulers import OwnSchedulers
from jupyter_offload.keeper.schedulers import SchedulerSeen
from jupyter_offload.keeper.store import Record, Store
from jupyter_offload.ports import Capability, FoundCluster, SchedulerAt, SchedulerState, WorkersSeen

NOW = 1_000_100.0
READY = SchedulerAt(SchedulerState.ready, "tcp://s:8786", workers=2)
WHY = Reason(code=ReasonCode.image_failed, message="No such image.", hint="Another one.")
SIZE = Profile(name="p", cores=1, memory_bytes=1)


class Site:
    """A backend that answers what it is told to."""

    capabilities = frozenset({Capability.own_scheduler, Capability.unencrypted})

    def __init__(self) -> None:
        self.at: SchedulerAt | Exception = READY
        self.there: list[FoundCluster] | Exception = []

    async def scheduler(self, cluster: Any) -> SchedulerAt:
        if isinstance(self.at, Exception):
            raise self.at
        return self.at

    async def found(self, owner: str) -> list[FoundCluster]:
        assert owner == locations.owner_id()
        if isinstance(self.there, Exception):
            raise self.there
        return self.there


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    for name in ("JUPYTER_DATA_DIR", "XDG_RUNTIME_DIR"):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / name))
    store = await Store.open(tmp_path / "records.sqlite")
    yield store
    await store.close()


@pytest.fixture
def own(site: Site, store: Store) -> OwnSchedulers:
    return OwnSchedulers(lambda name: site if name == "far" else None, store)  # type: ignore[arg-type,return-value]


@pytest.fixture
def insert(store: Store, make_record: Callable[..., Record], tmp_path: Path) -> Callable[..., Any]:
    async def insert(**changes: Any) -> Record:
        spec = {"site": "far", **changes.pop("spec_changes", {})}
        places = {"folder": str(tmp_path / "f"), "runtime": str(tmp_path / "r")}
        values = {"own_scheduler": True, "launched_at": NOW, "handle": {"uid": "u"}, "host": locations.host_name(),
                  "site_workers": 2, **places, **changes}  # fmt: skip
        return await store.insert(make_record(spec_changes=spec, **values), [])

    return insert


async def test_what_the_site_shows_is_what_a_process_here_would_say(own: OwnSchedulers, insert: Any) -> None:
    seen = await own.look(await insert())
    assert (seen.sight, seen.address) == (Sight.ready, "tcp://s:8786")
    assert seen.status is not None
    assert seen.status["target"] == 2


@pytest.mark.parametrize("error", [Unavailable(ProblemCode.site_unreachable, "Nobody answers."), TimeoutError()])
async def test_a_site_that_cannot_be_asked_is_silent_not_gone(
    own: OwnSchedulers, site: Site, insert: Any, error: Exception
) -> None:
    site.at = error
    seen = await own.look(await insert())
    assert seen.sight is Sight.silent
    assert seen.problem is not None
    assert seen.problem.code == "cannot-see"


async def test_a_site_that_is_no_longer_declared_is_said(own: OwnSchedulers, insert: Any) -> None:
    seen = await own.look(await insert(spec_changes={"site": "nowhere"}))
    assert (seen.sight, seen.problem and seen.problem.code) == (Sight.silent, "site-missing")


async def test_what_is_not_there_was_deleted_unless_it_was_never_made(
    own: OwnSchedulers, site: Site, insert: Any, make_record: Callable[..., Record]
) -> None:
    site.at = SchedulerAt(SchedulerState.absent)
    gone = await own.look(await insert())
    assert (gone.sight, gone.exit and gone.exit.code) == (Sight.exited, "deleted-at-site")
    never = await own.look(await insert(id="bcdefg", name="other", handle={}))
    assert never.sight is Sight.nothing


async def test_one_that_fails_has_failed_unless_it_was_found(own: OwnSchedulers, site: Site, insert: Any) -> None:
    """What somebody made by other means is not deleted for being slow."""
    site.at = dataclasses.replace(READY, state=SchedulerState.failed, problem=WHY)
    record = await insert()
    assert action(record, await own.look(record)).phase is Phase.failed
    found = await insert(id="bcdefg", name="other", adopted=True)
    kept = action(found, await own.look(found))
    assert (kept.do, kept.phase, kept.reason) == (Do.nothing, Phase.starting, WHY)


def action(record: Record, seen: SchedulerSeen, connected: int = 0) -> Any:
    observation = Observation(
        sight=seen.sight, exit=seen.exit, held=seen.status["target"] if seen.status else None, workers=WorkersSeen(),
        scheduler_problem=seen.problem, adaptive_target=seen.status["adaptive_target"] if seen.status else None,
    )  # fmt: skip
    return next_action(record, observation, NOW + 10_000)


async def test_starting_takes_as_long_as_the_site_lets_it_and_says_why(
    own: OwnSchedulers, site: Site, insert: Any
) -> None:
    site.at = dataclasses.replace(READY, state=SchedulerState.starting, problem=WHY, address=None)
    record = await insert()
    waits = action(record, await own.look(record))
    assert (waits.do, waits.phase, waits.reason) == (Do.nothing, Phase.starting, WHY)


async def test_one_that_is_not_reached_says_so_and_is_no_failure(own: OwnSchedulers, site: Site, insert: Any) -> None:
    far = Reason(code=ReasonCode.scheduler_not_reached, message="It listens elsewhere.")
    site.at = dataclasses.replace(READY, address=None, problem=far)
    record = await insert(phase=Phase.running)
    seen = await own.look(record)
    assert seen.address is None
    assert action(record, seen).reason == far


async def test_deleted_at_the_site_is_stopped(own: OwnSchedulers, site: Site, insert: Any) -> None:
    site.at = SchedulerAt(SchedulerState.absent)
    record = await insert(phase=Phase.running)
    ends = action(record, await own.look(record))
    assert (ends.do, ends.phase, ends.reason.code) == (Do.end, Phase.stopping, "deleted-at-site")


# ---------------------------------------------------------------- who scaled it
async def test_what_is_scaled_here_is_submitted(own: OwnSchedulers, insert: Any) -> None:
    record = await insert(spec_changes={"workers": 5}, phase=Phase.running)
    decided = action(record, await own.look(record))
    assert (decided.do, decided.workers) == (Do.submit, 5)


async def test_what_is_scaled_at_the_site_is_followed(
    own: OwnSchedulers, site: Site, insert: Any, store: Store
) -> None:
    site.at = dataclasses.replace(READY, workers=7)
    record = await insert(phase=Phase.running)
    seen = await own.look(record)
    newest = store.find(record.id)
    assert (newest.spec.workers, newest.site_workers) == (7, 7)
    assert action(newest, seen).do is Do.nothing
    assert [e.code for e in await store.timeline(record.id)] == ["changed-at-site"]
    await own.look(newest)
    assert len(await store.timeline(record.id)) == 1, "it is told once"


async def test_what_adapts_at_the_site_is_followed(own: OwnSchedulers, site: Site, insert: Any, store: Store) -> None:
    site.at = dataclasses.replace(READY, adaptive=Adaptive(minimum=1, maximum=9))
    record = await insert(phase=Phase.running)
    await own.look(record)
    assert store.find(record.id).spec.adaptive == Adaptive(minimum=1, maximum=9)
    site.at = dataclasses.replace(site.at, workers=8)  # the site's own doing
    seen = await own.look(store.find(record.id))
    assert seen.status is not None
    assert seen.status["adaptive_target"] == 8
    assert len(await store.timeline(record.id)) == 1


@pytest.mark.parametrize("change", [{"agrees": False}, {"adaptive": Adaptive(maximum=2)}])
async def test_what_differs_otherwise_is_submitted_again(
    own: OwnSchedulers, site: Site, insert: Any, change: dict[str, Any]
) -> None:
    site.at = dataclasses.replace(READY, **change)
    record = await insert(phase=Phase.running, site_adaptive=change.get("adaptive"))
    assert action(record, await own.look(record)).do is Do.submit


# ---------------------------------------------------------------- its pages
async def test_its_pages_are_served_on_the_private_socket_while_they_are_reached(
    own: OwnSchedulers, site: Site, insert: Any
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\npages")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    site.at = dataclasses.replace(READY, dashboard=server.sockets[0].getsockname())
    record = await insert()
    socket = Path(record.runtime) / "dashboard.sock"
    await own.look(record)
    assert socket.stat().st_mode & 0o777 == 0o600
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket)), timeout=5) as http:
        assert (await http.get("http://d/status")).text == "pages"
    server.close()
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket)), timeout=5) as http:
        with pytest.raises(httpx.TransportError):
            await http.get("http://d/status")
    site.at = READY
    await own.look(record)
    assert not socket.exists()
    assert "tcp://s:8786" in (Path(record.folder) / "connection.json").read_text()
    await own.end(record)
    assert not (Path(record.folder) / "connection.json").exists()


# ---------------------------------------------------------------- found
def found(name: str, uid: str = "11111111-2222") -> FoundCluster:
    return FoundCluster(uid, name, {"name": name, "uid": uid}, SIZE, 3, None, NOW)


@pytest.fixture
def finder(site: Site, store: Store) -> Adoption:
    entry = SimpleNamespace(name="far", title="Far", backend=site)
    return Adoption(store, SimpleNamespace(all=lambda: [entry]), lambda _: None)  # type: ignore[arg-type]


async def test_what_is_found_becomes_a_record_once(finder: Adoption, site: Site, store: Store) -> None:
    site.there = [found("by-hand")]
    await finder.look()
    await finder.look()
    [record] = store.all()
    assert (record.name, record.id, record.adopted, record.encrypted, record.spec.workers) == (
        "by-hand", "11111111-2222", True, False, 3,
    )  # fmt: skip


async def test_a_name_that_is_taken_or_too_long_gives_way(
    finder: Adoption, site: Site, store: Store, insert: Any
) -> None:
    await insert(name="x" * 40)
    site.there = [found("x" * 53)]
    await finder.look()
    assert {r.name for r in store.all()} == {"x" * 40, "x" * 38 + "-2"}


async def test_a_site_that_cannot_be_asked_disturbs_nothing(finder: Adoption, site: Site, store: Store) -> None:
    for error in (Unavailable(ProblemCode.site_unreachable, "no"), Forbidden(ProblemCode.access_denied, "no")):
        site.there = error
        await finder.look()
    assert store.all() == []


def test_what_would_help_is_said_to_whoever_connects(make_record: Callable[..., Record]) -> None:
    far = Reason(code=ReasonCode.scheduler_not_reached, message="It listens elsewhere.", hint="Forward its port.")
    assert not_usable(make_record(phase=Phase.running, reason=far)).hint == "Forward its port."


async def test_one_without_workers_that_is_not_reached_says_so_too(own: OwnSchedulers, site: Site, insert: Any) -> None:
    far = Reason(code=ReasonCode.scheduler_not_reached, message="It listens elsewhere.")
    site.at = dataclasses.replace(READY, address=None, problem=far, workers=0)
    record = await insert(phase=Phase.running, spec_changes={"workers": 0}, site_workers=0)
    assert action(record, await own.look(record)).reason == far
