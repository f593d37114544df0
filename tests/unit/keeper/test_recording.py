"""What a decision writes into the record and the timeline."""

from __future__ import annotations

import pytest

from jupyter_offload.api.models import Desired, Phase, ReasonCode, Worker
from jupyter_offload.keeper.lifecycle import Observation, Sight, next_action
from jupyter_offload.keeper.recording import apply
from jupyter_offload.keeper.schedulers import SchedulerSeen
from jupyter_offload.ports import WorkersSeen

NOW = 1_000_100.0


def event(sequence: int, code: str, worker: str | None = "w0", at: float = NOW, message: str = "it happened") -> dict:
    return {"sequence": sequence, "at": at, "level": "warning", "code": code, "message": message, "worker": worker}


@pytest.fixture
def step(make_record):
    def step(record=None, states=("connected", "connected"), events=(), sight=Sight.ready):
        record = record or make_record(phase=Phase.starting, launched_at=NOW - 1)
        workers = [Worker(name=f"w{i}", state=s, cores=1, memory_bytes=1) for i, s in enumerate(states)]
        status = {"events": list(events), "sequence": 0} if sight is Sight.ready else None
        observation = Observation(
            sight=sight, held=2, workers=WorkersSeen(visible=sight is Sight.ready, workers=workers)
        )
        scheduler = SchedulerSeen(sight, status=status)
        before = record
        # the reason of a fresh event shows in the next round
        for _ in range(2):
            action = next_action(record, observation, NOW)
            record, entries = apply(record, action, scheduler, observation, NOW)
            if before is not None:
                first, before = entries, None
        return record, first

    return step


def test_phase_reason_and_counts_are_recorded_with_an_entry(step) -> None:
    record, entries = step()
    assert (record.phase, record.reason.code, record.workers_connected) == (Phase.running, ReasonCode.all_workers, 2)
    assert record.phase_since == NOW
    assert [e.code for e in entries] == ["all-workers"]


def test_nothing_new_is_the_same_object(step) -> None:
    record, _ = step()
    again, entries = step(record)
    assert again is record
    assert entries == []


def test_counts_change_without_an_entry_of_their_own(step) -> None:
    record, _ = step()
    fewer, entries = step(record, states=("connected", "starting"))
    assert (fewer.workers_connected, fewer.workers_starting) == (1, 1)
    assert [e.code for e in entries] == ["some-workers"]


def test_events_are_recorded_once(step) -> None:
    record, _ = step()
    record, entries = step(record, events=[event(7, "worker-lost"), event(8, "worker-connected")])
    assert [(e.code, e.worker) for e in entries] == [("worker-lost", "w0"), ("worker-connected", "w0")]
    assert record.last_event == 8
    _, entries = step(record, events=[event(8, "worker-connected")])
    assert entries == []


def test_a_restart_gives_the_card_its_reason(step) -> None:
    record, entries = step(step()[0], events=[event(3, "worker-restarted", message="w0 died (signal 9).")])
    assert record.reason.code is ReasonCode.worker_restarted
    assert record.reason.message == "w0 died (signal 9)."
    assert [e.code for e in entries] == ["worker-restarted"]


def test_over_memory_says_more_than_the_restart_it_causes(step) -> None:
    events = [event(3, "worker-over-memory"), event(4, "worker-restarted", at=NOW + 1)]
    record, _ = step(step()[0], events=events)
    assert record.reason.code is ReasonCode.worker_over_memory


def test_cannot_see_keeps_the_last_counts(step) -> None:
    record, entries = step(step()[0], sight=Sight.silent)
    assert record.workers_connected == 2
    assert [(e.code, e.level) for e in entries] == [("cannot-see", "warning")]


def test_a_failure_is_an_error_and_leaves_no_workers(step) -> None:
    record, entries = step(step()[0], sight=Sight.gone)
    assert (record.phase, record.workers_connected) == (Phase.failed, 0)
    assert [(e.code, e.level) for e in entries] == [("supervisor-died", "error")]


def test_an_end_by_itself_becomes_what_is_desired(step, make_record) -> None:
    record = make_record(phase=Phase.running, launched_at=NOW - 50, spec_changes={"lifetime_s": 60})
    record, _ = step(record)
    assert record.desired is Desired.stopped
    assert record.stop_reason is not None and record.stop_reason.code is ReasonCode.lifetime_over
