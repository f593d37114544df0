"""Which versions fit, and who is turned away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_offload.scheduler import versions
from jupyter_offload.scheduler.arrivals import Arrivals
from jupyter_offload.scheduler.dask_scheduler import Scheduler
from jupyter_offload.scheduler.journal import Journal

OURS = {"python": "3.11.7", "dask": "2026.8.0", "distributed": "2026.8.0", "cloudpickle": "3.1", "numpy": "2.4"}


def announced(**changes: str | None) -> dict[str, Any]:
    """Return what Dask's processes tell of themselves."""
    packages: dict[str, Any] = {**OURS, "toolz": "1.0", "lz4": None, "python": "3.11.7.final.0", **changes}
    return {"host": {}, "packages": packages}


@pytest.fixture
async def arrivals() -> Arrivals:
    made = Arrivals(Journal())
    made.__dict__["versions"] = OURS
    return made


def events(arrivals: Arrivals) -> list[dict[str, Any]]:
    return arrivals._journal.since(0)


def test_what_matters_is_picked_out() -> None:
    assert versions.brief(announced()) == OURS
    assert versions.brief(None) == versions.brief({}) == versions.brief({"packages": None}) == {}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, []), ({"python": "3.11.1.final.0"}, []), ({"numpy": "1"}, []), ({"tornado": "1"}, []), ({"dask": None}, []),
        ({"python": "3.1.7.final.0"}, ["python"]), ({"dask": "2026.8.1"}, ["dask"]),
        ({"dask": "2025.3.0", "distributed": "2025.3.0"}, ["dask", "distributed"]),
    ],
)  # fmt: skip
def test_what_cannot_work_together(changes: dict[str, str | None], wrong: list[str]) -> None:
    assert versions.conflicts(versions.brief(announced(**changes)), OURS) == wrong


async def test_who_does_not_fit_gets_an_answer_that_says_why(arrivals: Arrivals) -> None:
    assert arrivals.vet("w1", announced()) is None
    assert arrivals.vet("w1", announced(numpy="1")) is None and not events(arrivals)
    answer = arrivals.vet("w1", announced(distributed="2025.3.0"))
    assert answer is not None and answer["status"] == "error" and answer["time"] > 0, "what Dask's worker expects"
    assert "distributed 2025.3.0 where the scheduler has 2026.8.0" in answer["message"]
    assert "pip install distributed==2026.8.0" in answer["offload_hint"]
    python = arrivals.vet("w2", announced(python="3.12.1.final.0"))
    assert python is not None and "pip" not in python["offload_hint"], "no package helps"
    assert [refused["name"] for refused in arrivals.refused] == ["w1", "w2"]
    assert [event["code"] for event in events(arrivals)] == ["worker-version-mismatch"] * 2


async def test_the_last_hundred_that_were_turned_away_are_kept(arrivals: Arrivals) -> None:
    for number in range(150):
        arrivals.refuse(f"w{number}", "worker-unreachable", "Far.", None)
    assert [arrivals.refused[0]["name"], len(arrivals.refused)] == ["w50", 100]


async def test_a_worker_is_known_from_its_arrival_to_its_end(arrivals: Arrivals) -> None:
    arrivals.proven("tls://a", 0.1)  # it left meanwhile
    assert arrivals.of("tls://a").proven_at is None
    arrivals.came("tls://a", "w1", announced())
    seen = arrivals.of("tls://a")
    assert seen.versions == OURS and seen.registered_at and (seen.proven_at, seen.round_trip_s) == (None, None)
    arrivals.proven("tls://a", 0.25)
    assert seen.round_trip_s == 0.25 and seen.proven_at is not None and seen.proven_at >= seen.registered_at
    arrivals.left("tls://a")
    assert not arrivals.of("tls://a").registered_at
    assert not events(arrivals)


async def test_lesser_differences_are_told_once(arrivals: Arrivals) -> None:
    for name in ("w1", "w2"):
        arrivals.came(f"tls://{name}", name, announced(numpy="1.26"))
    arrivals.came("tls://w3", "w3", announced(numpy=None))
    arrivals.came("tls://w4", "w4", None)
    assert [(event["code"], event["worker"]) for event in events(arrivals)] == [
        ("worker-versions-differ", "w1"), ("worker-versions-differ", "w3")
    ]  # fmt: skip
    assert "numpy is missing where the scheduler has 2.4" in events(arrivals)[1]["message"]


async def test_a_client_is_told_of_what_cannot_work_only(arrivals: Arrivals) -> None:
    arrivals.client_came(announced(numpy="1"))
    arrivals.client_came(None)
    assert not events(arrivals)
    arrivals.client_came(announced(dask="2025.3.0"))
    (event,) = events(arrivals)
    assert event["code"] == "client-version-mismatch" and "dask 2025.3.0" in event["message"]


async def test_local_workers_are_what_the_scheduler_is() -> None:
    """Their environment may have been upgraded since; they are forks of what was loaded before."""
    asked: list[str] = []
    written: list[dict[str, Any]] = []

    async def write(answer: dict[str, Any]) -> None:
        written.append(answer)

    scheduler = SimpleNamespace(
        _is_local=lambda name: name == "w0", _vet=lambda name, _: asked.append(name) or {"status": "error"}
    )
    comm = SimpleNamespace(write=write)
    await Scheduler.add_worker(scheduler, comm, name="far", versions={})  # type: ignore[arg-type]
    assert asked == ["far"] and written == [{"status": "error"}]
    with pytest.raises(TypeError):  # on to Dask, which this stand-in is not
        await Scheduler.add_worker(scheduler, comm, name="w0", versions={})  # type: ignore[arg-type]
    assert asked == ["far"]
