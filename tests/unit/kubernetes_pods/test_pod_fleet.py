"""What is remembered of workers between two looks, and what of it is told; the breaker for workers that fail at once."""

from __future__ import annotations

from typing import Any

from jupyter_offload.api.models import Profile, Reason, ReasonCode, WorkerState
from jupyter_offload.backends.kubernetes.fleet import NEVER_MADE_S, Fleet
from jupyter_offload.backends.kubernetes.options import KubernetesOptions, Storm
from jupyter_offload.backends.kubernetes.reading import Why
from jupyter_offload.backends.kubernetes.storm import Failures
from jupyter_offload.backends.kubernetes.tracking import Track

NOW = 1_000_000.0
PROFILE = Profile(name="small", cores=1, memory_bytes=2**30)
OPTIONS = KubernetesOptions.model_validate({
    "node": "vk", "deadlines": {"scheduled_s": 10, "accepted_s": 20, "queued_s": 1000, "connected_s": 100},
})  # fmt: skip
JOB = {"JobID": "job-1"}


def pod(name: str, *, taken: bool = True, state: str = "running", deleting: bool = False) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": f"offload-{name}", "annotations": JOB if taken else {}}
    if deleting:
        meta["deletionTimestamp"] = "2026-11-27T11:34:21Z"
    status = {"phase": "Running", "containerStatuses": [{"state": {state: {"message": "PENDING", "reason": "Queued"}}}]}
    return {"metadata": meta, "spec": {"nodeName": "vk"}, "status": status if taken else {"phase": "Pending"}}


def told(*names: str, state: str = "connected") -> dict[str, Any]:
    workers = [{"name": n, "state": state, "cores": 1, "memory_bytes": 2**30, "executing": 0} for n in names]
    return {"workers": workers, "refused": []}


def handle(*names: str, target: int | None = None, **more: Any) -> dict[str, Any]:
    entries = {n: {"asked_at": NOW} for n in names}
    return {"workers": entries, "target": len(names) if target is None else target, **more}


def fleet() -> Fleet:
    return Fleet(OPTIONS, virtual=True)


def seen(one: Fleet, now: float, *names: str, placement: Reason | None = None, **more: Any) -> Any:
    return one.seen(handle(*names, **more), PROFILE, placement, now)


def test_a_worker_goes_through_its_stages() -> None:
    one = fleet()
    for at, pods, status, stage in [
        (1, {"w": pod("w", taken=False)}, told(), "scheduled"),
        (2, {"w": pod("w", state="waiting")}, told(), "queued"),
        (3, {"w": pod("w")}, told(), "started"),
        (4, {"w": pod("w")}, told("w", state="starting"), "registered"),
        (5, {"w": pod("w")}, told("w"), "proven"),
    ]:
        assert not one.take_in(handle("w"), pods, status, NOW + at)
        worker = seen(one, NOW + at, "w").workers[0]
        assert worker.stage == stage
        assert worker.stage_since.timestamp() == NOW + at
    assert worker.state is WorkerState.connected and worker.deadline_at is None and worker.site_id == "job-1"
    assert one.arrivals == [5]


def test_a_name_that_was_saved_and_whose_pod_is_being_made_is_not_lost() -> None:
    """Somebody looks while the pod is on its way to the API server."""
    one = fleet()
    one.tracks["w"] = Track("w", since=NOW)
    one.take_in(handle("w"), {}, told(), NOW + 1)
    assert one.tracks["w"].lost is None
    one.take_in(handle("w"), {}, told(), NOW + NEVER_MADE_S + 1)
    lost = one.tracks["w"].lost
    assert lost is not None and lost.code is ReasonCode.site_silent


def test_a_pod_that_somebody_deleted_is_lost_only_when_its_worker_is_gone_too() -> None:
    one = fleet()
    one.take_in(handle("w"), {"w": pod("w")}, told("w"), NOW)
    one.take_in(handle("w"), {}, told("w"), NOW + 5)
    assert one.tracks["w"].lost is None, "Dask's own list counts"
    one.take_in(handle("w"), {}, None, NOW + 8)
    assert one.tracks["w"].lost is None, "a scheduler that is silent says nothing"
    one.take_in(handle("w"), {}, told(), NOW + 10)
    assert one.tracks["w"].lost is not None


def test_each_stage_has_its_deadline() -> None:
    one = fleet()
    one.take_in(handle("w"), {"w": pod("w", taken=False)}, told(), NOW)
    one.take_in(handle("w"), {"w": pod("w", taken=False)}, told(), NOW + 19)
    assert one.tracks["w"].lost is None
    one.take_in(handle("w"), {"w": pod("w", taken=False)}, told(), NOW + 21)
    lost = one.tracks["w"].lost
    assert lost is not None and lost.code is ReasonCode.site_silent
    assert seen(one, NOW + 21, "w").workers[0].state is WorkerState.lost


def test_what_is_forgotten_stays_so_whatever_an_older_look_says() -> None:
    one = fleet()
    one.take_in(handle("w"), {"w": pod("w")}, told(), NOW)
    one.forget("w")
    one.take_in(handle("w"), {"w": pod("w", deleting=True)}, told(), NOW + 1)
    assert not one.tracks and one.strays == ["w"]
    one.take_in(handle(), {"x": pod("x")}, told(), NOW + 2)
    assert one.strays == ["x"], "a pod that nobody knows is to go"


def test_a_keeper_that_is_new_finds_its_workers_again() -> None:
    one = fleet()
    one.take_in(handle("w", "v"), {"w": pod("w")}, told("w"), NOW + 50)
    assert list(one.tracks) == ["w"], "what is nowhere any more is not made up"
    assert not one.arrivals, "it came at a time that nobody saw"


def test_the_card_is_told_what_most_wait_for() -> None:
    one = fleet()
    one.take_in(handle("a", "b", "c"), {n: pod(n, state="waiting") for n in "ab"} | {"c": pod("c")}, told("c"), NOW)
    problem = seen(one, NOW, "a", "b", "c").problem
    assert problem.code is ReasonCode.site_queued and problem.message == "PENDING (2 of them)"
    away = Reason(code=ReasonCode.node_not_ready, message="Away.")
    assert seen(one, NOW, "a", "b", "c", placement=away).problem.code is ReasonCode.site_queued, (
        "they are past the node"
    )
    new = fleet()
    new.take_in(handle("w"), {"w": pod("w", taken=False)}, told(), NOW)
    assert seen(new, NOW, "w", placement=away).problem is away
    done = fleet()
    done.take_in(handle("w"), {"w": pod("w")}, told("w"), NOW)
    assert seen(done, NOW, "w", placement=away).problem is None, "who has all workers waits for nothing"


def test_a_worker_that_the_scheduler_turned_away_is_lost_with_its_words() -> None:
    one = fleet()
    status = told() | {
        "refused": [{"name": "w", "code": "version-mismatch", "message": "Python 3.9.", "hint": "Change."}]
    }
    one.take_in(handle("w"), {"w": pod("w")}, status, NOW)
    lost = one.tracks["w"].lost
    assert lost is not None and (lost.code, lost.message) == (ReasonCode.version_mismatch, "Python 3.9.")


def test_lost_workers_that_nobody_waits_for_are_shown_for_a_while() -> None:
    one = fleet()
    one.take_in(handle("w", "v", target=1), {"w": pod("w"), "v": pod("v")}, told("v"), NOW)
    one.tracks["w"].lose(Why(ReasonCode.ended_by_site, "Gone."), NOW)
    assert len(seen(one, NOW + 1, "w", "v", target=1).workers) == 2
    assert len(seen(one, NOW + 500, "w", "v", target=1).workers) == 1


def test_failures_in_a_row_halt_and_a_success_forgives() -> None:
    limits, why = Storm(failures=3, within_s=100), {"code": "site-refused", "message": "No.", "hint": "Ask."}
    failures = Failures()
    pauses = []
    for n in range(3):
        assert not failures.halted
        failures = failures.failed(NOW + n, why, limits)
        pauses.append(failures.next_at() - NOW - n)
    assert failures.halted and pauses == sorted(pauses) and pauses[0] < pauses[-1]
    assert Failures.load(failures.saved()) == failures
    assert failures.succeeded().halted, "only somebody who asks anew ends it"
    assert not failures.forgiven().halted
    slow = Failures().failed(NOW, why, limits).failed(NOW + 101, why, limits).failed(NOW + 202, why, limits)
    assert not slow.halted
    assert Failures().failed(NOW, why, limits).succeeded() == Failures()
    one = fleet()
    problem = seen(one, NOW, failures=failures.saved())
    assert (
        problem.halted and "3 workers in a row failed" in problem.problem.message and "No." in problem.problem.message
    )
