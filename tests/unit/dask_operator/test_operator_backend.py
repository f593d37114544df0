"""What the backend tells of a scheduler, from looks that a real site gives only after minutes, or not at all here."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from operator_objects import NAME, READY, SPACE, deployment, meta, pod

from jupyter_offload.api.models import Adaptive, ClusterSpec, SiteDefinition
from jupyter_offload.backends.dask_operator import DaskOperatorBackend, names
from jupyter_offload.backends.dask_operator.reach import Reach
from jupyter_offload.backends.dask_operator.snapshot import Snapshot
from jupyter_offload.ports import ClusterContext, SchedulerState

#: Connections to a loopback address where nobody listens are refused at once.
NOBODY = "127.255.255.254"


class Looks:
    """A namespace that holds what a test puts there."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}

    async def look(self) -> Snapshot:
        return Snapshot(SPACE, time.monotonic(), **self.held)

    def forget(self) -> None:
        """Nothing is remembered here."""


@pytest.fixture
async def backend() -> AsyncIterator[DaskOperatorBackend]:
    backend = DaskOperatorBackend(SiteDefinition.model_validate({
        "name": "operator", "backend": "dask-operator", "images": [{"name": "one", "image": "dask:1"}],
        "profiles": [{"name": "p", "cores": 1, "memory_bytes": "1 GiB"}], "options": {"deadlines": {"operator_s": 30}},
    }))  # fmt: skip
    backend._looker = Looks()  # type: ignore[assignment]
    yield backend
    await backend.close()


def holds(backend: DaskOperatorBackend, *, age_s: float = 5, phase: str | None = "Running", **held: Any) -> None:
    created = datetime.fromtimestamp(time.time() - age_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {"worker": {"replicas": 2, "spec": {"containers": [{}]}}, "idleTimeout": held.pop("idle", 0)}
    found = {
        "metadata": meta(NAME, creationTimestamp=created),
        "spec": spec,
        "status": {"phase": phase} if phase else {},
    }
    found["metadata"]["labels"] |= held.pop("labels", {names.OWNER: "o" * 16})
    held.setdefault("groups", [{"metadata": meta(f"{NAME}-default"), "spec": {"worker": {"replicas": 2}}}])
    backend._looker.held = {"clusters": {NAME: found}, **held}  # type: ignore[attr-defined]


def context(backend: DaskOperatorBackend, **spec: Any) -> ClusterContext:
    wanted = ClusterSpec(name="ours", site="operator", **spec)
    handle = {"name": NAME, "uid": f"uid-of-{NAME}"}
    return ClusterContext("0123456789abcdef", "ours", "o" * 16, "me", wanted, backend.site.profiles[0], handle, None)


def scheduler_pod(**more: Any) -> dict[str, Any]:
    found = pod("s", component="scheduler", **more)
    found["status"]["podIP"] = NOBODY
    return found


async def test_no_cluster_is_absent_and_one_of_the_same_name_is_another(backend: DaskOperatorBackend) -> None:
    assert (await backend.scheduler(context(backend))).state is SchedulerState.absent
    holds(backend)
    other = context(backend)
    other.handle["uid"] = "of-an-earlier-one"
    assert (await backend.scheduler(other)).state is SchedulerState.absent
    assert await backend.cancel(other) == [], "what is another's is not counted"


async def test_a_scheduler_that_runs_and_is_not_reached_says_how_to_forward_its_port(
    backend: DaskOperatorBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(backend, pods=[scheduler_pod(conditions=READY)])
    new = await backend.scheduler(context(backend))
    assert (new.state, new.problem) == (SchedulerState.starting, None), "its name may not be known yet"
    later = time.monotonic() + 21
    monkeypatch.setattr("jupyter_offload.backends.dask_operator.backend.time.monotonic", lambda: later)
    at = await backend.scheduler(context(backend))
    assert (at.state, at.address, at.dashboard, at.workers) == (SchedulerState.ready, None, None, 2)
    assert at.problem is not None
    assert at.problem.code == "scheduler-not-reached"
    assert f"kubectl -n {SPACE} port-forward svc/{NAME}-scheduler 8786" in (at.problem.hint or "")


@pytest.mark.parametrize(
    ("age_s", "phase", "state", "code"),
    [
        (5, None, SchedulerState.starting, None),
        (31, None, SchedulerState.starting, "site-silent"),
        (31, "Created", SchedulerState.starting, None),
        (601, "Running", SchedulerState.failed, "scheduler-start-timeout"),
        (601, None, SchedulerState.failed, "site-silent"),
        (5, "Error", SchedulerState.failed, "site-refused"),
    ],
)
async def test_each_wait_has_its_deadline(
    backend: DaskOperatorBackend, age_s: float, phase: str | None, state: SchedulerState, code: str | None
) -> None:
    holds(backend, age_s=age_s, phase=phase)
    at = await backend.scheduler(context(backend))
    assert (at.state, at.problem and at.problem.code) == (state, code)


async def test_an_operator_that_does_not_follow_is_told_by_our_own_clock(
    backend: DaskOperatorBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = {"metadata": meta(f"{NAME}-default"), "spec": {"worker": {"replicas": 2}}}
    one = deployment("w1")
    one["metadata"]["labels"]["dask.org/workergroup-name"] = f"{NAME}-default"
    look = Snapshot(SPACE, 0, groups=[group], deployments=[one])
    now = [1000.0]
    monkeypatch.setattr("jupyter_offload.backends.dask_operator.backend.time.monotonic", lambda: now[0])
    assert backend._behind(look, NAME, group) is None
    now[0] += 31
    said = backend._behind(look, NAME, group)
    assert said is not None
    assert "holds 1 workers" in said.message
    group["spec"]["worker"]["replicas"] = 1
    assert backend._behind(look, NAME, group) is None


async def test_what_differs_from_the_spec_is_said(backend: DaskOperatorBackend) -> None:
    holds(backend, idle=60)
    assert not (await backend.scheduler(context(backend))).agrees
    assert (await backend.scheduler(context(backend, idle_timeout_s=60))).agrees
    holds(backend, idle=60, labels={})
    assert (await backend.scheduler(context(backend))).agrees, "of one that was found, nothing is changed unasked"
    scaler = {"metadata": meta(NAME), "spec": {"cluster": NAME, "minimum": 1, "maximum": 10**9}}
    holds(backend, autoscalers={NAME: scaler})
    assert (await backend.scheduler(context(backend))).adaptive == Adaptive(minimum=1, maximum=10_000)


async def test_what_is_left_is_named(backend: DaskOperatorBackend) -> None:
    deleted = []

    async def delete(path: str, uid: str) -> None:
        deleted.append((path, uid))

    backend._delete = delete  # type: ignore[method-assign]
    holds(backend, pods=[pod()], deployments=[deployment()])
    left = await backend.cancel(context(backend))
    assert deleted == [(names.path(names.CLUSTERS, SPACE, NAME), f"uid-of-{NAME}")]
    assert [each.split(" (")[0] for each in left] == [
        f"DaskCluster {NAME}", f"worker group {NAME}-default", "Deployment w1", "pod w1-abc",
    ]  # fmt: skip
    backend._looker.held = {"pods": [pod()]}  # type: ignore[attr-defined]
    assert await backend.cancel(context(backend)) == ["pod w1-abc"]
    backend._looker.held = {}  # type: ignore[attr-defined]
    assert await backend.cancel(context(backend)) == []


async def test_only_unlabelled_ones_are_found_and_only_where_the_site_adopts(backend: DaskOperatorBackend) -> None:
    holds(backend)
    assert await backend.found("o" * 16) == []
    holds(backend, labels={})
    assert [f.name for f in await backend.found("o" * 16)] == [NAME]
    backend.options = backend.options.model_copy(update={"adopt": False})
    assert await backend.found("o" * 16) == []


async def test_owned_is_what_carries_the_label(backend: DaskOperatorBackend) -> None:
    holds(backend, labels={names.OWNER: "o" * 16, names.CLUSTER: "c1"})
    [owned] = await backend.find_owned("o" * 16)
    assert (owned.cluster_id, NAME in owned.what) == ("c1", True)
    assert await backend.find_owned("p" * 16) == []


async def test_the_first_host_that_listens_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    reach = Reach()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(names, "SCHEDULER_PORT", listening.getsockname()[1])
        reached = await reach.find("pod-1", ["no-such-service.invalid", NOBODY, "127.0.0.1"])
        assert reached is not None
        assert reached.address == f"tcp://127.0.0.1:{names.SCHEDULER_PORT}"
        assert await reach.find("pod-2", [NOBODY]) is None
        assert await reach.find("pod-2", ["127.0.0.1"]) is None, "it is not tried again at once"
    await reach.close()


async def test_an_operator_that_lost_a_change_is_asked_once_more(
    backend: DaskOperatorBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It acts on changes only, so that the same number again would be none."""
    asked = []

    async def request(method: str, path: str, *, body: Any) -> None:
        asked.append(body["spec"]["worker"]["replicas"])

    async def save(handle: dict[str, Any]) -> None:
        pass

    monkeypatch.setattr(backend._api, "request", request)
    monkeypatch.setattr("jupyter_offload.backends.dask_operator.backend._NOTICED_S", 0)
    three = [deployment(f"w{n}") for n in range(3)]
    for each in three:
        each["metadata"]["labels"]["dask.org/workergroup-name"] = f"{NAME}-default"
    holds(backend, deployments=three)
    await backend.submit(context(backend), 2, save)
    assert asked == [], "it may still be at it"
    later = [time.monotonic() + 31]
    monkeypatch.setattr("jupyter_offload.backends.dask_operator.backend.time.monotonic", lambda: later[0])
    await backend.submit(context(backend), 2, save)
    await backend.submit(context(backend), 2, save)
    assert asked == [3, 2]
    later[0] += 31
    await backend.submit(context(backend), 2, save)
    assert asked == [3, 2, 3, 2]
