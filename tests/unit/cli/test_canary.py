"""``jupyter offload doctor --canary``: a stand-in client plays the course of one worker, also those no real site can be made to."""

from __future__ import annotations

import argparse
import asyncio
import json

import pytest
from test_following import record

from jupyter_offload.api.models import (
    Changes,
    Cluster,
    Finding,
    LogChunk,
    LogSources,
    Timeline,
)
from jupyter_offload.api.problems import Unavailable
from jupyter_offload.cli import FAILED, OK, canary
from jupyter_offload.cli.output import Output

THEN = "2026-01-02T03:04:05Z"


def worker(stage: str, state: str = "starting", name: str = "w1", **more: object) -> dict[str, object]:
    return {"name": name, "state": state, "stage": stage, "cores": 1, "memory_bytes": 2**30, "site_id": "4711"} | more


PROVEN = worker(
    "proven", "connected", address="relay://w-w1-0", round_trip_s=0.0123, versions={"python": "3.11", "dask": "1"}
)
QUEUED = worker("queued", message="Resources", hint="Wait, or ask for less.", code="site-queued")
LOST = [
    worker("started", "lost", f"w{n}", message="Its image has no distributed.", hint="Install it.") for n in range(2)
]


class Site:
    """Shows one look after the other, then the end; the last of each for ever."""

    def __init__(self, looks: list[list[dict[str, object]] | Exception], ends: list[Cluster] | None = None) -> None:
        self.looks = looks
        self.ends = ends or [record("stopping"), record("stopped", requested=0)]
        self.made: list[object] = []
        self.stopped = False

    async def call(self, operation, response, *, body=None, **arguments):
        if operation == "createCluster":
            self.made.append(body.spec)
            return record("starting", requested=1)
        if operation == "changes":
            await asyncio.sleep(0.001)
            return Changes(revision=arguments["since"] + 1)
        if operation == "clusterTimeline":
            entry = {"at": THEN, "code": "worker-queued", "message": "w1 is in\nthe queue"}
            return Timeline.model_validate({"entries": [entry]})
        if operation == "listLogs":
            source = {"name": "scheduler", "role": "scheduler", "size_bytes": 9, "modified_at": THEN}
            return LogSources.model_validate({"sources": [source]})
        if operation == "readLog":
            assert arguments["offset"] < 0
            return LogChunk(source="scheduler", offset=0, next_offset=9, size_bytes=9, text="one\n\ntwo\n")
        if operation == "deleteCluster":
            self.stopped = True
            return record("stopping")
        assert operation == "getCluster", operation
        course = self.ends if self.stopped else self.looks
        now = course.pop(0) if len(course) > 1 else course[0]
        if isinstance(now, Exception):
            raise now
        return now if isinstance(now, Cluster) else record("starting", requested=1, worker_list=now)


async def tried(site: Site, capsys, timeout: str = "10 min") -> tuple[int, dict[str, Finding]]:
    arguments = argparse.Namespace(canary="far", profile="gpu", timeout=timeout)
    status = await canary.canary(site, Output(as_json=True), arguments)
    findings = [Finding.model_validate(f) for f in json.loads(capsys.readouterr().out)["findings"]]
    return status, {f.check: f for f in findings}


async def test_a_worker_that_comes_tells_its_way_and_goes(capsys) -> None:
    site = Site([[], [worker("submitted")], [QUEUED], [worker("started")], [PROVEN]])
    status, found = await tried(site, capsys)
    assert status == OK and site.stopped
    (spec,) = site.made
    assert (spec.site, spec.profile, spec.workers) == ("far", "gpu", 1)
    assert 0 < spec.idle_timeout_s <= 600, "one that is killed leaves no cluster for ever"
    stages = found["stages"].message
    assert [stages.find(s) for s in ("submitted", "queued", "started", "proven")] == sorted(
        stages.find(s) for s in ("submitted", "queued", "started", "proven")
    ) and "-1" not in stages
    assert found["round trip"].message.startswith("12.3 ms")
    assert found["worker"].message == "w1 at relay://w-w1-0, 4711 at the site, 1 core."
    assert "dask 1, python 3.11" in found["versions"].message
    assert found["end"].state == "ok"


async def test_workers_that_are_lost_tell_why_with_timeline_and_log(capsys) -> None:
    site = Site([[QUEUED], LOST])
    status, found = await tried(site, capsys)
    assert status == FAILED and site.stopped
    assert (found["worker"].state, found["worker"].hint) == ("error", "Install it.")
    assert "Its image has no distributed." in found["worker"].message
    assert "w1 is in the queue" in found["timeline"].message
    assert found["log of scheduler"].message == "one | two"
    assert found["end"].state == "ok"


async def test_one_loss_is_not_the_end_of_it(capsys) -> None:
    status, found = await tried(Site([LOST[:1], [PROVEN]]), capsys)
    assert status == OK and "worker" in found


async def test_a_worker_that_waits_too_long_tells_for_what(capsys) -> None:
    status, found = await tried(Site([[QUEUED]]), capsys, timeout="0 s")
    assert status == FAILED
    assert "Resources" in found["worker"].message and found["worker"].hint == "Wait, or ask for less."


async def test_a_cluster_that_fails_tells_its_reason(capsys) -> None:
    status, found = await tried(Site([record("failed")]), capsys)
    assert status == FAILED and "It was killed." in found["worker"].message


async def test_what_the_site_does_not_let_go_of_is_an_error(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "_PATIENCE_S", 0.05)
    left = record("failed", left_at_site=["pod offload-w1"])
    status, found = await tried(Site([[PROVEN]], ends=[left]), capsys)
    assert status == FAILED and found["end"].state == "error"


async def test_an_end_that_is_not_confirmed_yet_is_waited_for(capsys) -> None:
    ends = [record("failed", left_at_site=["pod offload-w1"])] * 3 + [record("failed")]
    status, found = await tried(Site([[PROVEN]], ends=ends), capsys)
    assert status == OK and found["end"].state == "ok"


async def test_whatever_happens_it_is_taken_away() -> None:
    fault = Site([[QUEUED], ValueError("a fault of ours")])
    with pytest.raises(ValueError, match="a fault of ours"):
        await canary.canary(fault, Output(as_json=True), argparse.Namespace(canary="far", profile=None, timeout="1 h"))
    assert fault.stopped

    interrupted = Site([[QUEUED]])
    arguments = argparse.Namespace(canary="far", profile=None, timeout="1 h")
    task = asyncio.create_task(canary.canary(interrupted, Output(as_json=True), arguments))
    while not interrupted.made:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    task.cancel()  # what Ctrl-C does
    with pytest.raises(asyncio.CancelledError):
        await task
    assert interrupted.stopped


async def test_a_keeper_that_is_gone_is_an_error_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_offload.api.following.PATIENCE_S", 0.0)
    gone = Site([[QUEUED], Unavailable("keeper-unreachable", "The keeper does not answer.")])
    with pytest.raises(Unavailable):
        await canary.canary(gone, Output(as_json=True), argparse.Namespace(canary="far", profile=None, timeout="1 h"))
    assert gone.stopped
