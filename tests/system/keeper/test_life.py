"""The life of clusters through a real keeper: made, used, changed, ended, forgotten."""

from __future__ import annotations

import concurrent.futures
import time
import uuid
from pathlib import Path

import httpx
import pytest

from jupyter_offload.api import locations
from jupyter_offload.api.models import (
    Adaptive,
    Changes,
    Cluster,
    ClusterChange,
    ClusterRequest,
    ClusterSpec,
    Connection,
    DashboardTarget,
    Findings,
    LogChunk,
    LogSources,
    Preview,
    Timeline,
)  # fmt: skip
from jupyter_offload.api.problems import BadInput, Conflict, NotFound, NotNow, ProblemCode, Stale
from jupyter_offload.keeper import folders

from .conftest import Desk


def create(desk: Desk, spec: ClusterSpec, cluster_id: str | None = None) -> Cluster:
    return desk.client.call("createCluster", Cluster, body=ClusterRequest(id=cluster_id, spec=spec))


def test_a_whole_life(shared: Desk) -> None:
    cluster = shared.new("whole", 1)
    assert (cluster.connectable, cluster.dashboard, cluster.workers.connected) == (True, True, 1)
    assert cluster.spec.cores and cluster.spec.memory_bytes and cluster.spec.profile, "defaults are filled in"
    with shared.dask("whole") as dask:
        assert sum(dask.gather(dask.map(lambda x: x * x, range(10)))) == 285
        shared.when("whole", lambda c: c.usage.clients == 1 and c.usage.tasks_done >= 10)
    assert shared.change("whole", workers=2).workers.requested == 2
    shared.when("whole", lambda c: c.workers.connected == 2 and c.reason.code.value == "all-workers")
    shared.change("whole", workers=1)
    left = shared.when("whole", lambda c: c.workers.connected == 1 and len(c.worker_list) == 1)
    assert left.phase.value == "running"
    stopped = shared.stop("whole")
    assert stopped.reason.code.value == "stop-requested" and stopped.worker_list == []
    codes = shared.codes("whole")
    assert codes[:2] == ["accepted", "scheduler-starting"] and codes[-1] == "stop-requested"
    assert "worker-connected" in codes

    place = folders.places(cluster.id)
    assert not Path(place.runtime).exists() and not Path(place.spill).exists()
    kept = sorted(p.name for p in Path(place.folder).iterdir())
    assert not [n for n in kept if n.endswith(".pem")] and "connection.json" not in kept, "no key outlives its cluster"
    sources = shared.client.call("listLogs", LogSources, id="whole").sources
    assert {s.name for s in sources} >= {"supervisor", "scheduler", "w0"}
    log = shared.client.call("readLog", LogChunk, id="whole", source="scheduler", offset=0)
    assert "Scheduler at" in log.text

    shared.client.call("deleteCluster", id="whole")
    with pytest.raises(NotFound):
        shared.get(cluster.id)
    assert not Path(place.folder).exists()


def test_files_are_private(shared: Desk) -> None:
    cluster = shared.new("private", 0)
    place = folders.places(cluster.id)
    for folder in (place.folder, place.runtime, place.spill, str(locations.runtime_folder())):
        assert Path(folder).stat().st_mode & 0o077 == 0, folder
    for path in Path(place.folder).rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    connection = shared.client.call("clusterConnection", Connection, id="private")
    assert "BEGIN" not in connection.model_dump_json()
    assert connection.scheduler_address.startswith("tls://127.0.0.1:")
    shared.stop("private")


def test_create_is_idempotent_by_id(shared: Desk) -> None:
    cluster_id, spec = uuid.uuid4().hex, ClusterSpec(name="once", workers=0)
    first = create(shared, spec, cluster_id)
    assert create(shared, spec, cluster_id).id == first.id == cluster_id
    with pytest.raises(Conflict) as caught:
        create(shared, ClusterSpec(name="once", workers=1), cluster_id)
    assert caught.value.code is ProblemCode.id_in_use
    assert len([c for c in shared.all() if c.name == "once"]) == 1
    shared.stop("once")


def test_a_name_in_use_is_refused_with_one_that_is_free(shared: Desk) -> None:
    create(shared, ClusterSpec(name="taken", workers=0))
    with pytest.raises(Conflict) as caught:
        create(shared, ClusterSpec(name="taken", workers=0))
    assert caught.value.code is ProblemCode.name_in_use and "taken-2" in (caught.value.hint or "")
    warnings = shared.client.call("previewCluster", Preview, body=ClusterSpec(name="taken")).warnings
    assert any("taken-2" in w for w in warnings)
    shared.stop("taken")
    create(shared, ClusterSpec(name="taken", workers=0))
    shared.stop("taken")


def test_one_name_asked_for_at_once_by_many(shared: Desk) -> None:
    def one(_: int) -> str:
        desk = Desk(shared.home)
        try:
            return create(desk, ClusterSpec(name="rush", workers=0)).id
        except Conflict as error:
            return error.code.value
        finally:
            desk.client.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    assert sorted(answers)[1:].count("name-in-use") + answers.count("name-in-use") >= 7
    assert len([c for c in shared.all() if c.name == "rush"]) == 1
    shared.stop("rush")


@pytest.mark.parametrize(
    ("spec", "kind", "code", "field"),
    [
        ({"site": "mars"}, NotFound, "unknown-site", "site"),
        ({"profile": "huge"}, BadInput, "unknown-profile", "profile"),
        ({"workers": 9999}, BadInput, "limit-exceeded", "workers"),
        ({"environment": "no-such-kernel"}, NotFound, "unknown-environment", "environment"),
        ({"memory_bytes": 2**50}, BadInput, "limit-exceeded", "memory_bytes"),
    ],
)
def test_bad_specs_are_refused_before_anything_is_made(shared: Desk, spec, kind, code, field) -> None:
    before = shared.all()
    for operation in ("createCluster", "previewCluster"):
        made = ClusterSpec(name="bad", **spec)
        with pytest.raises(kind) as caught:
            shared.client.call(operation, body=made if operation == "previewCluster" else ClusterRequest(spec=made))
        assert caught.value.code.value == code and caught.value.field == field and caught.value.hint
    assert [c.id for c in shared.all()] == [c.id for c in before]


def test_unknown_cluster_everywhere(shared: Desk) -> None:
    for operation in (
        "getCluster",
        "clusterTimeline",
        "listLogs",
        "clusterConnection",
        "clusterDashboard",
        "deleteCluster",
    ):
        with pytest.raises(NotFound) as caught:
            shared.client.call(operation, id="nobody")
        assert caught.value.code is ProblemCode.unknown_cluster


def test_preview_shows_what_will_run_and_no_secret(shared: Desk) -> None:
    spec = ClusterSpec(name="shown", workers=2, env={"TOKEN": "hush-hush"})
    preview = shared.client.call("previewCluster", Preview, body=spec)
    assert "--nthreads 1" in preview.text and "times 2" in preview.text and "TOKEN" in preview.text
    assert "hush-hush" not in preview.text
    assert preview.spec.cores == 1
    assert not [c for c in shared.all() if c.name == "shown"]


def test_if_match(shared: Desk) -> None:
    cluster = shared.new("matched", 0)
    with pytest.raises(Stale):
        shared.client.call(
            "changeCluster", id="matched", body=ClusterChange(idle_timeout_s=5000), if_match=cluster.revision - 1
        )
    with pytest.raises(Stale):
        shared.client.call("deleteCluster", id="matched", if_match=cluster.revision - 1)
    assert shared.get("matched") == cluster
    body = ClusterChange(idle_timeout_s=5000)
    changed = shared.client.call("changeCluster", Cluster, id="matched", body=body, if_match=cluster.revision)
    assert changed.spec.idle_timeout_s == 5000 and changed.revision > cluster.revision
    shared.stop("matched")


def test_what_cannot_be_changed(shared: Desk) -> None:
    shared.new("fixed", 0)
    with pytest.raises(BadInput) as caught:
        shared.change("fixed", workers=9999)
    assert caught.value.code is ProblemCode.limit_exceeded
    shared.change("fixed", adaptive=Adaptive(minimum=0, maximum=1))
    with pytest.raises(BadInput) as caught:
        shared.change("fixed", workers=1)
    assert caught.value.field == "workers" and "adaptive" in (caught.value.hint or "")
    assert shared.change("fixed", workers=0, adaptive=None).spec.adaptive is None
    shared.stop("fixed")
    shared.client.call("deleteCluster", id=shared.new("fixed-2", 0).id)
    for name in ("fixed", "fixed-2"):
        with pytest.raises(NotNow):
            shared.change(name, workers=1)
    shared.phase("fixed-2", "stopped")
    with pytest.raises(NotNow):
        shared.client.call("clusterConnection", Connection, id="fixed-2")


def test_idle_timeout_ends_it_and_work_does_not_count_as_idle(shared: Desk) -> None:
    shared.new("idler", 1, idle_timeout_s=3)
    with shared.dask("idler") as dask:
        busy = dask.submit(time.sleep, 5)
        assert busy.result(60) is None, "it ran for longer than the idle timeout"
        assert shared.get("idler").phase.value == "running"
        waiting = shared.when("idler", lambda c: c.end is not None and c.end.because == "idle")
        assert waiting.idle_since is not None
    over = shared.phase("idler", "stopped")
    assert over.reason.code.value == "idle-timeout"


def test_lifetime_ends_it_and_can_be_extended(shared: Desk) -> None:
    cluster = shared.new("mortal", 0, lifetime_s=4)
    assert cluster.end is not None and cluster.end.because == "lifetime"
    assert (cluster.end.at - cluster.created_at).total_seconds() == 4
    extended = shared.change("mortal", lifetime_s=3600)
    assert extended.end is not None and extended.end.at > cluster.end.at
    time.sleep(max(0.0, cluster.end.at.timestamp() - time.time()) + 0.5)
    assert shared.get("mortal").phase.value == "running"
    with pytest.raises(BadInput):
        shared.change("mortal", lifetime_s=1)
    shared.change("mortal", lifetime_s=int(time.time() - cluster.created_at.timestamp()) + 3)
    assert shared.phase("mortal", "stopped").reason.code.value == "lifetime-over"


def test_adaptive(shared: Desk) -> None:
    shared.new("elastic", 0, adaptive=Adaptive(minimum=0, maximum=2))
    with shared.dask("elastic") as dask:
        work = [dask.submit(time.sleep, 3, pure=False) for _ in range(4)]
        shared.when("elastic", lambda c: c.workers.connected == 2)
        dask.gather(work)
        del work
        shared.when("elastic", lambda c: c.workers.requested == 0 and not c.worker_list)
    shared.stop("elastic")


def test_shut_down_from_inside(shared: Desk) -> None:
    shared.new("inside", 1)
    shared.dask("inside").shutdown()
    over = shared.when("inside", lambda c: c.phase.value in ("stopped", "failed"))
    assert (over.phase.value, over.reason.code.value) == ("stopped", "stop-requested")


def test_dashboard(shared: Desk) -> None:
    shared.new("shown", 1)
    target = shared.client.call("clusterDashboard", DashboardTarget, id="shown")
    titles = {p.title: p.path for p in target.plots}
    assert titles["Task Stream"] == "individual-task-stream" and len(titles) > 20
    with httpx.Client(transport=httpx.HTTPTransport(uds=target.socket), timeout=30) as http:
        for path in ("status", titles["Task Stream"]):
            assert http.get(f"http://localhost/{path}").status_code == 200
    shared.stop("shown")
    with pytest.raises(NotNow):
        shared.client.call("clusterDashboard", DashboardTarget, id="shown")


def test_changes_tell_what_to_look_at(shared: Desk) -> None:
    now = shared.client.call("changes", Changes)
    cluster = create(shared, ClusterSpec(name="noted", workers=0))
    later = shared.client.call("changes", Changes, since=now.revision, timeout_s=20)
    assert cluster.id in later.clusters and later.revision > now.revision
    shared.stop("noted")
    before = shared.client.call("changes", Changes).revision
    shared.client.call("deleteCluster", id="noted")
    assert cluster.id in shared.client.call("changes", Changes, since=before, timeout_s=20).clusters


def test_a_site_file_that_appears_is_news(shared: Desk) -> None:
    now = shared.client.call("changes", Changes).revision
    folder = shared.home / "conf" / "offload" / "sites"
    folder.mkdir(parents=True)
    file = folder / "bench.yaml"
    file.write_text(
        "name: bench\ntitle: Bench\nbackend: local\nprofiles: [{name: tiny, cores: 1, memory_bytes: 1 GiB}]\n"
    )
    shared.client.call("listSites")
    assert shared.client.call("changes", Changes, since=now, timeout_s=20).sites
    shared.new("benched", 0, site="bench")
    file.unlink()
    shared.client.call("listSites")
    gone = shared.when("benched", lambda c: c.reason.code.value == "site-missing")
    assert gone.phase.value == "running", "a file that is gone ends no cluster"
    shared.stop("benched")


def test_doctor_and_check(shared: Desk) -> None:
    assert all(f.state != "error" for f in shared.client.call("checkSite", Findings, site="local").findings)
    assert shared.client.call("doctor", Findings).findings


def test_a_worker_that_cannot_start_fails_the_cluster_and_says_why(shared: Desk) -> None:
    create(
        shared,
        ClusterSpec(name="doomed", workers=1, env={"DASK_DISTRIBUTED__WORKER__PRELOAD": '["no_such_preload_module"]'}),
    )
    failed = shared.phase("doomed", "failed")
    assert failed.reason.code.value == "workers-failing" and "log of w0" in (failed.reason.hint or "")
    assert "No module named 'no_such_preload_module'" in failed.reason.message and "\n" not in failed.reason.message
    entries = shared.client.call("clusterTimeline", Timeline, id="doomed").entries
    told = [e.message for e in entries if e.code == "workers-failing"]
    assert len(told) == 1 and "\n" in told[0]


def test_an_extra_module_that_cannot_be_imported_stays_on_the_card(shared: Desk) -> None:
    shared.new("lacking", 1, modules=["json", "no_such_extra"], ready=False)
    lacking = shared.when("lacking", lambda c: c.workers.connected == 1 and c.reason.code.value == "module-failed")
    assert lacking.phase.value == "running" and "No module named 'no_such_extra'" in lacking.reason.message
    assert lacking.spec.modules == ["json", "no_such_extra"]
    shared.change("lacking", workers=2)
    shared.when("lacking", lambda c: c.workers.connected == 2)
    assert shared.get("lacking").reason == lacking.reason, "more workers do not mend it"
    shared.stop("lacking")
    codes = shared.codes("lacking")
    assert codes.count("stop-requested") == 1 and codes.count("module-failed") == 2, "scheduler and workers, once each"


def test_usage_numbers_are_of_now(shared: Desk) -> None:
    shared.new("usage", 1)
    with shared.dask("usage") as dask:
        for done in (1, 2, 3):
            dask.submit(abs, -done, pure=False).result(30)
            time.sleep(0.2)  # twice as long as a picture of a cluster counts as new
            cluster = shared.get("usage")
            assert (cluster.usage.tasks_done, cluster.worker_list[0].tasks_done) == (done, done)
