"""What the timeline tells of workers on their way."""

from __future__ import annotations

import pytest

from jupyter_offload.api.models import Worker
from jupyter_offload.keeper.stages import progress

NOW = 1_000_000.0
MANY = 2000


def worker(name: str, stage: str | None, state: str = "starting", **more: object) -> Worker:
    return Worker.model_validate(
        {"name": name, "stage": stage, "state": state, "cores": 1, "memory_bytes": 1, "code": None} | more
    )


def told(before: dict[str, str], *workers: Worker) -> tuple[dict[str, str], list[tuple[str, str, str | None]]]:
    stages, entries = progress(before, workers, NOW)
    return stages, [(e.code, e.message, e.worker) for e in entries]


def queued(name: str, message: str = "Resources") -> Worker:
    return worker(name, "queued", message=message, code="site-queued", site_id=f"job {name}")


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("submitted", "w1 is asked for."),
        ("scheduled", "w1 is given to the site's node."),
        ("accepted", "w1 is taken by the site."),
        ("queued", "w1 is in the queue of the site."),
        ("started", "w1 is started at the site."),
    ],
)
def test_each_stage_is_told_in_words(stage: str, words: str) -> None:
    stages, entries = told({}, worker("w1", stage))
    assert stages == {"w1": stage}
    assert entries == [(f"worker-{stage}", words, "w1")]


@pytest.mark.parametrize("stage", ["registered", "proven"])
def test_the_scheduler_tells_of_those_that_came(stage: str) -> None:
    assert told({"w1": "started"}, worker("w1", stage, "connected")) == ({"w1": stage}, [])


def test_local_workers_have_no_stages() -> None:
    assert told({}, worker("w1", None, "connected")) == ({}, [])


def test_a_new_keeper_does_not_tell_twice() -> None:
    stages, entries = told({}, queued("w1"))
    assert len(entries) == 1
    assert told(stages, queued("w1")) == (stages, [])


def test_few_are_named_with_their_numbers_at_the_site_and_many_are_counted() -> None:
    _, entries = told({}, queued("a"), queued("b"))
    assert entries == [("worker-queued", "a (job a), b (job b) are in the queue of the site: Resources", None)]
    _, entries = told({}, *(queued(f"w{n}") for n in range(12)))
    assert entries == [("worker-queued", "12 workers are in the queue of the site: Resources", None)]


def test_a_loss_is_a_warning_with_its_cause() -> None:
    lost = worker("w1", "started", "lost", message="The walltime was over.", code="ended-by-site")
    stages, entries = progress({"w1": "proven"}, [lost], NOW)
    assert stages == {"w1": "lost"}
    assert [(e.code, e.level, e.message) for e in entries] == [
        ("ended-by-site", "warning", "w1 is lost: The walltime was over.")
    ]
    assert progress(stages, [lost], NOW) == (stages, [])
    _, entries = progress({}, [worker("w1", "started", "lost")], NOW)
    assert [(e.code, e.message) for e in entries] == [("worker-lost", "w1 is lost.")]


def test_many_losses_of_a_kind_are_one_entry_though_each_says_another_number() -> None:
    lost = [
        worker(f"w{n}", "started", "lost", message="Killed." if n else "Job 7 was killed.", code="ended-by-site")
        for n in range(MANY)
    ]
    _, entries = told({}, *lost)
    assert entries == [("ended-by-site", f"{MANY} workers are lost: Killed.", None)]


@pytest.mark.parametrize("further", ["registered", "proven"])
def test_a_scheduler_that_is_silent_for_a_moment_puts_no_worker_back(further: str) -> None:
    stages, entries = told({"w1": further}, worker("w1", "started"))
    assert entries == []
    assert told(stages, worker("w1", "proven", "connected"))[1] == []


def test_what_is_gone_is_forgotten() -> None:
    assert told({"old": "proven"}, queued("new"))[0] == {"new": "queued"}
