"""What a decision writes into the record and the timeline."""

from __future__ import annotations

import pytest

from jupyter_offload.api.models import Desired, Phase, Reason, ReasonCode, Worker
from jupyter_offload.keeper.lifecycle import NOT_SEEN, Do, Exit, Observation, Sight, next_action
from jupyter_offload.keeper.recording import apply
from jupyter_offload.keeper.schedulers import SchedulerSeen
from jupyter_offload.ports import WorkersSeen

NOW = 1_000_100.0
STOPPED = Reason(code=ReasonCode.stop_requested, message="You asked to stop it.")


def event(sequence: int, code: str, worker: str | None = "w0", at: float = NOW, message: str = "it happened") -> dict:
    return {"sequence": sequence, "at": at, "level": "warning", "code": code, "message": message, "worker": worker}


@pytest.fixture
def step(make_record):
    def step(
        record=None, states=("connected", "connected"), events=(), sight=Sight.ready, left=None, relay=None, told=None
    ):
        record = record or make_record(phase=Phase.starting, launched_at=NOW - 1)
        workers = [Worker(name=f"w{i}", state=s, cores=1, memory_bytes=1) for i, s in enumerate(states)]
        status = {"events": list(events), "sequence": 0, "relay": told} if sight is Sight.ready else None
        observation = Observation(
            sight=sight,
            exit=left,
            held=2,
            workers=WorkersSeen(visible=sight is Sight.ready, workers=workers),
            relay=relay,
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


def test_a_new_number_is_wanted_until_the_site_that_had_stopped_took_it_up(make_record) -> None:
    """Also when the keeper could not tell the site at the first attempt."""
    record = make_record(phase=Phase.running, launched_at=NOW - 50, asked_anew=True, workers_requested=3,
                         spec_changes={"workers": 3})  # fmt: skip
    storm = Reason(code=ReasonCode.workers_failing, message="4 workers in a row failed.")

    def after(seen: WorkersSeen):
        nonlocal record
        observation = Observation(sight=Sight.ready, held=0, workers=seen)
        action = next_action(record, observation, NOW)
        record, _ = apply(record, action, SchedulerSeen(Sight.ready, status={}), observation, NOW)
        return action.do

    halted = WorkersSeen(problem=storm, halted=True)
    assert [after(halted), after(NOT_SEEN), after(halted)] == [Do.submit] * 3
    assert after(WorkersSeen()) is Do.submit
    assert after(halted) is Do.nothing


def test_workers_on_their_way_are_told_and_remembered(step, make_record) -> None:
    worker = Worker(name="w0", state="starting", stage="queued", message="Resources", cores=1, memory_bytes=1)
    observation = Observation(sight=Sight.ready, held=1, workers=WorkersSeen(workers=[worker]))
    record = make_record(phase=Phase.starting, launched_at=NOW - 1)
    action = next_action(record, observation, NOW)
    record, entries = apply(record, action, SchedulerSeen(Sight.ready, status={}), observation, NOW)
    assert record.stages == {"w0": "queued"}
    assert [e.code for e in entries] == ["worker-queued", "waiting-for-workers"]


def test_a_usual_end_at_a_site_is_no_warning(make_record) -> None:
    record = make_record(phase=Phase.stopping, launched_at=NOW - 1, desired=Desired.stopped, stop_reason=STOPPED,
                         reason=STOPPED)  # fmt: skip
    left = Reason(code=ReasonCode.left_at_site, message="pod a is left.")
    observation = Observation(sight=Sight.gone, ending=left)
    record, entries = apply(record, next_action(record, observation, NOW), SchedulerSeen(Sight.gone), observation, NOW)
    assert [(e.code, e.level) for e in entries] == [("left-at-site", "info")]


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


def test_a_stop_is_told_once(step, make_record) -> None:
    record = make_record(phase=Phase.running, launched_at=NOW - 50, desired=Desired.stopped)
    record, entries = step(record)
    assert (record.phase, [e.code for e in entries]) == (Phase.stopping, ["stop-requested"])
    record, entries = step(record.model_copy(update={"cleaned": True}), sight=Sight.gone)
    assert (record.phase, entries) == (Phase.stopped, [])


def test_workers_that_fail_are_told_once_with_the_whole_end_of_the_log(step) -> None:
    message = "w0 died 3 times while starting. Its log ends with:\nTraceback:\nImportError: no"
    record, entries = step(states=(), events=[event(3, "workers-failing", message=message)])
    assert [(e.code, e.message) for e in entries if e.code != "waiting-for-workers"] == [("workers-failing", message)]
    assert record.phase is Phase.failed
    assert record.reason.message == "w0 died 3 times while starting. Its log ends with: ImportError: no"


def test_the_end_of_a_schedulers_log_is_in_the_timeline(step) -> None:
    left = Exit("scheduler-died", "It exited with status 1. Its log ends with:\n  one\n  two")
    record, entries = step(sight=Sight.exited, left=left)
    assert record.reason.message.endswith("Its log ends with: two")
    assert [e.message for e in entries] == [f"The scheduler process died: {left.message}"]


def test_modules_that_fail_are_remembered_each_with_its_first_cause(step, make_record) -> None:
    record = make_record(phase=Phase.running, launched_at=NOW - 50, spec_changes={"modules": ["zap", "pkg.zip"]})
    said = "cannot import the extra module {}: ImportError: {}\nmore. Install what provides it for /p, or take it off the list."
    events = [
        event(3, "module-failed", None, message="the scheduler " + said.format("zap", "first")),
        event(4, "module-failed", "w0", message="w0 " + said.format("zap", "second")),
        event(5, "module-failed", "w0", message="w0 " + said.format("pkg.zip", "third")),
    ]
    record, entries = step(record, events=events)
    assert record.failed_modules == {"zap": "ImportError: first more.", "pkg.zip": "ImportError: third more."}
    assert record.reason.code is ReasonCode.module_failed
    assert [e.code for e in entries if e.code == "module-failed"] == ["module-failed"] * 3
    assert step(record)[0] is record


def test_a_relay_that_is_away_is_told_once(step) -> None:
    """By the scheduler's event where it noticed, by the reason where only the keeper did."""
    reason = Reason(code=ReasonCode.relay_unreachable, message="It does not answer.")
    _, entries = step(relay=reason)
    assert [(e.code, e.level) for e in entries] == [("relay-unreachable", "warning")]
    lost = {"sequence": 1, "at": NOW, "level": "warning", "code": "relay-lost", "message": "Away.", "worker": None}
    record, entries = step(relay=reason, events=[lost], told={"registered": False, "problem": "It does not answer."})
    assert record.reason == reason
    assert [e.code for e in entries] == ["relay-lost"]
