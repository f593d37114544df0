"""What a look at the site means, as a table."""

from __future__ import annotations

import pytest
from operator_objects import NAME, READY, UNSCHEDULED, deployment, meta, pod, snapshot, waiting

from jupyter_offload.backends.dask_operator import reading

HEARD = {"workers": {"tcp://10.1.2.3:4": {"name": "w1", "nthreads": 2, "memory_limit": 2**30, "status": "running",
                                          "metrics": {"memory": 5, "cpu": 100, "task_counts": {"executing": 2}}}}}  # fmt: skip
ALONE = {"workers": {}}
EXIT_1 = {"exitCode": 1}
TABLE = {
    # what: (pod, what the scheduler says, state, stage, code, a word of the message)
    "connected": (pod(), HEARD, "connected", "registered", None, ""),
    "runs, not registered": (pod(), ALONE, "starting", "started", None, ""),
    "runs, nobody heard": (pod(), None, "connected", "started", "cannot-see", "cannot be seen from here"),
    "no node": (pod(node=None, conditions=UNSCHEDULED), ALONE, "starting", "submitted", "no-capacity", "Insufficient nvidia"),
    "new": (pod(node=None), ALONE, "starting", "submitted", None, ""),
    "being made": (pod(state=waiting("ContainerCreating")), ALONE, "starting", "scheduled", None, ""),
    "no image": (pod(state=waiting("ImagePullBackOff", "not found")), ALONE, "starting", "scheduled", "image-failed", "dask:1"),
    "no secret": (pod(state=waiting("CreateContainerConfigError", "secret")), ALONE, "starting", "scheduled", "site-refused",
                  "secret"),
    "ended at once": (pod(state=waiting("CrashLoopBackOff"), restarts=1, last=EXIT_1), ALONE, "starting", "scheduled",
                      "not-connected", "exit code 1"),
    "storm": (pod(state=waiting("CrashLoopBackOff"), restarts=3, last=EXIT_1), ALONE, "starting", "scheduled",
              "workers-failing", "started 4 times"),
    "survived its storm": (pod(restarts=9), HEARD, "connected", "registered", None, ""),
    "evicted": (pod(phase="Failed", state={"terminated": {"exitCode": 137}}), ALONE, "lost", "started", "ended-by-site", ""),
    "going": (pod(deletionTimestamp="2026-11-27T10:00:00Z"), HEARD, "retiring", "started", None, ""),
}  # fmt: skip


@pytest.mark.parametrize("what", TABLE)
def test_a_worker(what: str) -> None:
    made, said, state, stage, code, word = TABLE[what]
    [worker] = reading.workers_of(snapshot(made), NAME, said, 3)
    assert (worker.name, worker.state, worker.stage, worker.code) == ("w1", state, stage, code)
    assert word in (worker.message or "")
    assert (worker.cores, worker.memory_bytes) == (2, 2**30)


def test_numbers_come_from_the_scheduler() -> None:
    [worker] = reading.workers_of(snapshot(pod()), NAME, HEARD, 3)
    assert (worker.address, worker.memory_used_bytes, worker.cpu_fraction, worker.executing) == (
        "tcp://10.1.2.3:4", 5, 0.5, 2,
    )  # fmt: skip


def test_a_pod_and_the_one_that_replaces_it_are_one_worker() -> None:
    old = pod(phase="Failed", state={"terminated": {"exitCode": 137}})
    for pods in ((old, pod()), (pod(), old)):
        [worker] = reading.workers_of(snapshot(*pods), NAME, HEARD, 3)
        assert worker.state == "connected"


def test_another_clusters_pods_do_not_count() -> None:
    assert reading.workers_of(snapshot(pod(cluster="other")), NAME, None, 3) == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (
            'pods "w1" is forbidden: exceeded quota: few, requested: pods=1, used: pods=4, limited: pods=4',
            "quota-exceeded",
        ),
        ('pods "w1" is forbidden: violates PodSecurity "restricted:latest"', "site-refused"),
        (None, None),
    ],
)
def test_a_deployment_that_makes_no_pod(failure: str | None, code: str | None) -> None:
    [worker] = reading.workers_of(snapshot(deployments=(deployment(failure=failure),)), NAME, ALONE, 3)
    assert (worker.state, worker.stage, worker.code) == ("starting", "submitted", code)
    assert (failure or "") in (worker.message or "")


def test_what_most_wait_for_is_the_cards_problem_but_a_storm_comes_first() -> None:
    lost = [pod(f"w{n}", node=None, conditions=UNSCHEDULED) for n in range(3)]
    workers = reading.workers_of(snapshot(*lost, pod("w8", state=waiting("ErrImagePull"))), NAME, ALONE, 3)
    assert (problem := reading.problem_of(workers)) is not None
    assert problem.code == "no-capacity"
    storm = pod("w9", state=waiting("CrashLoopBackOff"), restarts=5, last=EXIT_1)
    assert (problem := reading.problem_of(reading.workers_of(snapshot(*lost, storm), NAME, ALONE, 3))) is not None
    assert problem.code == "workers-failing"
    assert reading.problem_of(reading.workers_of(snapshot(pod()), NAME, HEARD, 3)) is None
    assert reading.problem_of(reading.workers_of(snapshot(pod()), NAME, None, 3)) is None, (
        "a worker that works is no problem"
    )


def test_the_scheduler_is_ready_or_says_why_not() -> None:
    ready = pod("s", component="scheduler", conditions=READY)
    assert reading.scheduler_waits(snapshot(ready), NAME) == (ready, None)
    assert reading.scheduler_waits(snapshot(pod("s", component="scheduler")), NAME) == (None, None)
    going = pod("s", component="scheduler", conditions=READY, deletionTimestamp="2026-11-27T10:00:00Z")
    assert reading.scheduler_waits(snapshot(going), NAME) == (None, None)
    for look, code in (
        (snapshot(pod("s", component="scheduler", state=waiting("ErrImagePull"))), "image-failed"),
        (snapshot(deployments=(deployment(component="scheduler", failure="exceeded quota: few"),)), "quota-exceeded"),
    ):
        found, reason = reading.scheduler_waits(look, NAME)
        assert found is None
        assert reason is not None
        assert (reason.code, reason.message.startswith("The scheduler waits.")) == (code, True)


def test_the_services_name_is_tried_first_and_the_pods_address_last() -> None:
    ready = pod("s", component="scheduler", conditions=READY)
    service = {
        "metadata": meta(f"{NAME}-scheduler", "scheduler"),
        "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}},
    }
    hosts = reading.hosts_of(snapshot(ready, services=(service,)), NAME, ready)
    assert hosts == [f"{NAME}-scheduler.jupyter", "1.2.3.4", "10.1.2.3"]
