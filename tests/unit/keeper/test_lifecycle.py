"""The lifecycle as a table: what is known and seen on the left, what is said and done on the right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jupyter_offload.api.models import Adaptive, Desired, Phase, Reason, ReasonCode, Worker
from jupyter_offload.keeper.lifecycle import (
    NOT_SEEN,
    Do,
    Exit,
    Limits,
    Observation,
    Sight,
    end_of,
    next_action,
    notice_of,
)  # fmt: skip
from jupyter_offload.keeper.store import Notice
from jupyter_offload.ports import WorkersSeen

NOW = 1_000_100.0  # 100 s after creation
RUN = {"phase": Phase.running, "launched_at": NOW - 90}
START = {"phase": Phase.starting, "launched_at": NOW - 10}
OOM = notice_of("worker-over-memory", "", "w0", 2**30)
FAILING = notice_of("workers-failing", "w0 died 4 times. Its log ends with:\n  at x\nboom", "w0", 2**30)
NO_MODULE = {"failed_modules": {"zap": "ModuleNotFoundError: No module named 'zap'"}}
NO_RELAY = Reason(code=ReasonCode.relay_unreachable, message="It does not answer.")
QUEUE_CLOSED = Reason(code=ReasonCode.site_refused, message="The queue is closed.")
STOPPED = Reason(code=ReasonCode.stop_requested, message="You asked to stop it.")
LAUNCH = Reason(code=ReasonCode.environment_unusable, message="gone")


STORM = Reason(code=ReasonCode.workers_failing, message="4 workers in a row failed.", hint="Mend it.")
QUEUED = Reason(code=ReasonCode.site_queued, message="Resources", hint="Wait.")
LEFT = Reason(code=ReasonCode.left_at_site, message="pod a is left.")


def workers(*states: str, problem: Reason | None = None, halted: bool = False) -> WorkersSeen:
    made = [Worker(name=f"w{i}", state=s, cores=1, memory_bytes=1) for i, s in enumerate(states)]
    return WorkersSeen(workers=made, problem=problem, halted=halted)


def seen(sight: Sight = Sight.ready, *states: str, **more: object) -> Observation:
    more.setdefault("workers", workers(*states) if sight is Sight.ready else NOT_SEEN)
    more.setdefault("held", 2 if sight is Sight.ready else None)
    return Observation(sight=sight, **more)  # type: ignore[arg-type]


BOTH = ("connected", "connected")
TABLE = {
    # what: (record, observation, phase, reason, do)
    "new": ({}, seen(Sight.nothing), "starting", "scheduler-starting", Do.launch),
    "coming": (START, seen(Sight.starting), "starting", "scheduler-starting", Do.nothing),
    "too slow": ({**START, "launched_at": NOW - 121}, seen(Sight.starting), "failed", "scheduler-start-timeout", Do.end),
    "no python": (START, seen(Sight.nothing, launch_error=LAUNCH), "failed", "environment-unusable", Do.end),
    "refused": (START, seen(Sight.exited, exit=Exit("scheduler-start-failed", "no dask")), "failed",
                "scheduler-start-failed", Do.end),
    "no worker yet": (START, seen(Sight.ready, "starting", "starting"), "starting", "waiting-for-workers", Do.nothing),
    "first worker": (START, seen(Sight.ready, "connected", "starting"), "running", "some-workers", Do.nothing),
    "all workers": (START, seen(Sight.ready, *BOTH), "running", "all-workers", Do.nothing),
    "paused counts": (RUN, seen(Sight.ready, "connected", "paused"), "running", "all-workers", Do.nothing),
    "lost all again": (RUN, seen(Sight.ready, "starting"), "running", "waiting-for-workers", Do.nothing),
    "none wanted": ({**START, "spec_changes": {"workers": 0}}, seen(Sight.ready, held=0), "running",
                    "no-workers-requested", Do.nothing),
    "scale up": ({**RUN, "spec_changes": {"workers": 3}}, seen(Sight.ready, *BOTH), "running", "some-workers", Do.submit),
    "scale down": ({**RUN, "spec_changes": {"workers": 1}}, seen(Sight.ready, *BOTH), "running", "all-workers", Do.submit),
    "held unknown": ({**RUN, "spec_changes": {"workers": 3}}, seen(Sight.ready, *BOTH, held=None), "running",
                     "some-workers", Do.nothing),
    "over memory": ({**RUN, "notice": Notice(at=NOW - 10, reason=OOM)}, seen(Sight.ready, *BOTH), "running",
                    "worker-over-memory", Do.nothing),
    "over memory, long ago": ({**RUN, "notice": Notice(at=NOW - 301, reason=OOM)}, seen(Sight.ready, *BOTH), "running",
                              "all-workers", Do.nothing),
    "never came": ({**START, "notice": Notice(at=NOW, reason=FAILING)}, seen(Sight.ready), "failed", "workers-failing",
                   Do.end),
    "one never came": ({**RUN, "notice": Notice(at=NOW - 999, reason=FAILING)}, seen(Sight.ready, "connected"), "running",
                       "workers-failing", Do.nothing),
    "came after all": ({**RUN, "notice": Notice(at=NOW - 9, reason=FAILING)}, seen(Sight.ready, *BOTH), "running",
                       "all-workers", Do.nothing),
    "no relay, on its way": (START, seen(Sight.ready, relay=NO_RELAY), "starting", "relay-unreachable", Do.nothing),
    "no relay for a while": (RUN, seen(Sight.ready, *BOTH, relay=NO_RELAY), "running", "relay-unreachable", Do.nothing),
    "no relay, scale up": ({**RUN, "spec_changes": {"workers": 3}}, seen(Sight.ready, *BOTH, relay=NO_RELAY), "running",
                           "relay-unreachable", Do.submit),
    "no relay, no workers wanted": ({**START, "spec_changes": {"workers": 0}}, seen(Sight.ready, held=0, relay=NO_RELAY),
                                    "running", "no-workers-requested", Do.nothing),
    "no relay, over memory": ({**RUN, "notice": Notice(at=NOW - 10, reason=OOM)}, seen(Sight.ready, *BOTH, relay=NO_RELAY),
                              "running", "worker-over-memory", Do.nothing),
    "no relay, no module": ({**RUN, **NO_MODULE}, seen(Sight.ready, *BOTH, relay=NO_RELAY), "running", "relay-unreachable",
                            Do.nothing),
    "no relay, site silent": (RUN, seen(Sight.ready, workers=NOT_SEEN, relay=NO_RELAY), "running", "cannot-see", Do.nothing),
    "no relay, stopping": ({**RUN, "desired": Desired.stopped}, seen(Sight.ready, *BOTH, relay=NO_RELAY), "stopping",
                           "stop-requested", Do.end),
    "no module": ({**RUN, **NO_MODULE}, seen(Sight.ready, *BOTH), "running", "module-failed", Do.nothing),
    "no module, on its way": ({**START, **NO_MODULE}, seen(Sight.ready, "starting"), "starting", "module-failed",
                              Do.nothing),
    "no module, over memory": ({**RUN, **NO_MODULE, "notice": Notice(at=NOW - 10, reason=OOM)}, seen(Sight.ready, *BOTH),
                               "running", "worker-over-memory", Do.nothing),
    "no module, long after": ({**RUN, **NO_MODULE, "notice": Notice(at=NOW - 301, reason=OOM)}, seen(Sight.ready, *BOTH),
                              "running", "module-failed", Do.nothing),
    "no module, site unseen": ({**RUN, **NO_MODULE}, seen(Sight.ready, workers=NOT_SEEN), "running", "cannot-see",
                               Do.nothing),
    "no module, queue closed": ({**RUN, **NO_MODULE}, seen(Sight.ready, workers=workers(problem=QUEUE_CLOSED)),
                                "running", "site-refused", Do.nothing),
    "queued at the site": (START, seen(Sight.ready, workers=workers("starting", problem=QUEUED)), "starting", "site-queued",
                           Do.nothing),
    "one is queued": (RUN, seen(Sight.ready, workers=workers("connected", "starting", problem=QUEUED)), "running",
                      "site-queued", Do.nothing),
    "lost one": (RUN, seen(Sight.ready, workers=workers("connected", "lost"), held=1), "running", "some-workers", Do.submit),
    "storm, never came": (START, seen(Sight.ready, workers=workers("lost", problem=STORM, halted=True), held=0), "failed",
                          "workers-failing", Do.end),
    "storm, one is there": (START, seen(Sight.ready, workers=workers("connected", "lost", problem=STORM, halted=True), held=1),
                            "running", "workers-failing", Do.nothing),
    "storm later": (RUN, seen(Sight.ready, workers=workers("lost", problem=STORM, halted=True), held=0), "running",
                    "workers-failing", Do.nothing),
    "storm, asked anew": ({**RUN, "asked_anew": True}, seen(Sight.ready, workers=workers(problem=STORM, halted=True), held=0),
                          "running", "workers-failing", Do.submit),
    "storm, adaptive asks anew": ({**RUN, "spec_changes": {"adaptive": Adaptive(minimum=0, maximum=5)}},
                                  seen(Sight.ready, workers=workers(problem=STORM, halted=True), held=0, adaptive_target=4),
                                  "running", "workers-failing", Do.submit),
    "left at the site": ({**RUN, "desired": Desired.stopped, "stop_reason": STOPPED}, seen(Sight.gone, ending=LEFT),
                         "stopping", "left-at-site", Do.end),
    "nothing is left": ({**RUN, "desired": Desired.stopped, "stop_reason": STOPPED, "cleaned": True},
                        seen(Sight.gone, ending=LEFT), "stopped", "stop-requested", Do.nothing),
    "silent": (RUN, seen(Sight.silent), "running", "cannot-see", Do.nothing),
    "silent at the start": (START, seen(Sight.silent), "starting", "cannot-see", Do.nothing),
    "site unseen": (RUN, seen(Sight.ready, workers=NOT_SEEN), "running", "cannot-see", Do.nothing),
    "site gone": (RUN, seen(Sight.ready, site_known=False), "running", "site-missing", Do.nothing),
    "scheduler killed": (RUN, seen(Sight.exited, exit=Exit("scheduler-died", "signal 9")), "failed", "scheduler-died",
                         Do.end),
    "client.shutdown": (RUN, seen(Sight.exited, exit=Exit("stopped", "")), "stopping", "stop-requested", Do.end),
    "supervisor killed": (RUN, seen(Sight.gone), "failed", "supervisor-died", Do.end),
    "rebooted": (RUN, seen(Sight.host_restarted), "failed", "host-restarted", Do.end),
    "Hub ended it": ({**RUN, "ends_with_server": True}, seen(Sight.gone), "stopping", "server-ended", Do.end),
    "Hub, new pod": ({**RUN, "ends_with_server": True}, seen(Sight.host_restarted), "stopping", "server-ended", Do.end),
    "elsewhere": (RUN, seen(Sight.other_host), "running", "other-host", Do.nothing),
    "elsewhere, to stop": ({**RUN, "desired": Desired.stopped}, seen(Sight.other_host), "running", "other-host", Do.nothing),
    "stop": ({**RUN, "desired": Desired.stopped}, seen(Sight.ready, *BOTH), "stopping", "stop-requested", Do.end),
    "stop unlaunched": ({"desired": Desired.stopped}, seen(Sight.nothing), "stopping", "stop-requested", Do.end),
    "stop unseen": ({**RUN, "desired": Desired.stopped}, seen(Sight.silent), "stopping", "stop-requested", Do.end),
    "stopped": ({**RUN, "desired": Desired.stopped, "cleaned": True}, seen(Sight.gone), "stopped", "stop-requested",
                Do.nothing),
    "idle": ({**RUN, "spec_changes": {"idle_timeout_s": 60}}, seen(Sight.ready, *BOTH, idle_since=NOW - 61), "stopping",
             "idle-timeout", Do.end),
    "not idle yet": ({**RUN, "spec_changes": {"idle_timeout_s": 60}}, seen(Sight.ready, *BOTH, idle_since=NOW - 59),
                     "running", "all-workers", Do.nothing),
    "busy": ({**RUN, "spec_changes": {"idle_timeout_s": 60}}, seen(Sight.ready, *BOTH), "running", "all-workers",
             Do.nothing),
    "never idle out": ({**RUN, "spec_changes": {"idle_timeout_s": 0}}, seen(Sight.ready, *BOTH, idle_since=1.0), "running",
                       "all-workers", Do.nothing),
    "lifetime": ({**RUN, "spec_changes": {"lifetime_s": 100}}, seen(Sight.ready, *BOTH), "stopping", "lifetime-over",
                 Do.end),
    "lifetime, silent": ({**RUN, "spec_changes": {"lifetime_s": 100}}, seen(Sight.silent), "stopping", "lifetime-over",
                         Do.end),
    "lifetime left": ({**RUN, "spec_changes": {"lifetime_s": 101}}, seen(Sight.ready, *BOTH), "running", "all-workers",
                      Do.nothing),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_table(name: str, make_record) -> None:
    record, observation, phase, reason, do = TABLE[name]
    action = next_action(make_record(**record), observation, NOW)
    assert (action.phase.value, action.reason.code.value, action.do) == (phase, reason, do)
    assert action.reason.message.strip()
    if phase in ("stopping", "stopped"):
        assert action.desired is Desired.stopped


@pytest.mark.parametrize("sight", Sight)
@pytest.mark.parametrize("phase", [Phase.stopped, Phase.failed])
def test_final_is_final(phase: Phase, sight: Sight, make_record) -> None:
    """Whatever is seen of a finished cluster: it stays what it is, and is cleaned up until nothing is left."""
    reason = Reason(code=ReasonCode.scheduler_died, message="it died")
    record = make_record(phase=phase, reason=reason, desired=Desired.running)
    action = next_action(record, seen(sight), NOW)
    assert (action.phase, action.reason) == (phase, reason)
    assert action.do is (Do.nothing if sight is Sight.other_host else Do.end)
    assert next_action(record.model_copy(update={"cleaned": True}), seen(sight), NOW).do is Do.nothing


@pytest.mark.parametrize("sight", [Sight.silent, Sight.other_host, Sight.starting])
def test_cannot_see_is_never_gone(sight: Sight, make_record) -> None:
    action = next_action(make_record(**{**RUN, "launched_at": NOW - 1}), seen(sight), NOW)
    assert action.phase not in (Phase.failed, Phase.stopped, Phase.stopping)
    assert action.desired is Desired.running


@pytest.mark.parametrize(("age_s", "code"), [(1, "waiting-for-workers"), (11, "cannot-see")])
def test_a_site_that_was_not_looked_at_yet_has_not_failed_to_answer(make_record, age_s, code) -> None:
    record = make_record(**{**START, "launched_at": NOW - age_s})
    action = next_action(record, replace(seen(Sight.ready), workers=NOT_SEEN, held=None), NOW)
    assert (action.reason.code, action.phase, action.do) == (code, Phase.starting, Do.nothing)


def test_first_stop_reason_stays(make_record) -> None:
    idle = Reason(code=ReasonCode.idle_timeout, message="idle")
    record = make_record(**RUN, desired=Desired.stopped, stop_reason=idle, cleaned=True)
    assert next_action(record, seen(Sight.gone), NOW).reason == idle


class TestAdaptive:
    ADAPT = {**RUN, "spec_changes": {"adaptive": Adaptive(minimum=1, maximum=5)}}

    def wanted(self, make_record, requested: int, **more: object) -> int:
        record = make_record(**self.ADAPT, workers_requested=requested)
        return next_action(record, seen(Sight.ready, *BOTH, **more), NOW, Limits(surplus_hold_s=10)).workers

    def test_up_at_once_and_within_the_range(self, make_record) -> None:
        assert self.wanted(make_record, 2, adaptive_target=4) == 4
        assert self.wanted(make_record, 2, adaptive_target=50) == 5

    def test_down_only_after_a_while_and_to_the_minimum(self, make_record) -> None:
        assert self.wanted(make_record, 4, adaptive_target=0, surplus_since=NOW - 9) == 4
        assert self.wanted(make_record, 4, adaptive_target=0, surplus_since=NOW - 10) == 1

    def test_unknown_target_changes_nothing(self, make_record) -> None:
        assert self.wanted(make_record, 3, adaptive_target=None) == 3

    def test_a_narrower_range_counts_at_once(self, make_record) -> None:
        assert self.wanted(make_record, 9) == 5
        assert self.wanted(make_record, 0) == 1


def test_end_is_the_earlier_one(make_record) -> None:
    record = make_record(spec_changes={"lifetime_s": 500, "idle_timeout_s": 60})
    first, second = end_of(record, None), end_of(record, NOW)
    assert first is not None and first.because == "lifetime" and first.at.timestamp() == record.created_at + 500
    assert second is not None and second.because == "idle" and second.at.timestamp() == NOW + 60
    assert end_of(make_record(spec_changes={"lifetime_s": 0, "idle_timeout_s": 0}), NOW) is None


def test_site_problem_is_told(make_record) -> None:
    observation = replace(seen(Sight.ready), workers=workers(problem=QUEUE_CLOSED))
    assert "The queue is closed." in next_action(make_record(**START), observation, NOW).reason.message


def test_notice_is_one_sentence_with_remedy() -> None:
    assert FAILING is not None and FAILING.message == "w0 died 4 times. Its log ends with: boom"
    assert FAILING.hint is not None and "log of w0" in FAILING.hint
    assert OOM is not None and OOM.hint is not None and "1 GiB" in OOM.hint
    assert notice_of("client-connected", "hello", None, 1) is None


def test_a_module_that_fails_is_named_with_the_cause_and_where_to_install_it(make_record) -> None:
    reason = next_action(make_record(**RUN, **NO_MODULE), seen(Sight.ready, *BOTH), NOW).reason
    assert reason.message == "The extra module zap cannot be imported: ModuleNotFoundError: No module named 'zap'"
    assert "/usr/bin/python3" in (reason.hint or "")
    two = {"failed_modules": {"zap": "ImportError: a", "zip": "ImportError: b"}}
    reason = next_action(make_record(**RUN, **two), seen(Sight.ready, *BOTH), NOW).reason
    assert "zap, zip" in reason.message


@pytest.mark.parametrize("code", ["scheduler-start-failed", "scheduler-died"])
def test_the_card_quotes_one_line_of_a_log_and_the_timeline_all(code: str, make_record) -> None:
    tail = (
        "Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'dask'\n2026 - INFO - bye"
    )
    left = Exit(code, f"The scheduler exited with status 1. Its log ends with:\n{tail}")
    action = next_action(make_record(**RUN), seen(Sight.exited, exit=left), NOW)
    assert action.reason.message.endswith("Its log ends with: ModuleNotFoundError: No module named 'dask'")
    assert "scheduler's log" in (action.reason.hint or "")
    assert action.detail is not None and action.detail.endswith(tail)
