"""Each fault made by breaking the real thing, and what the card then says."""

from __future__ import annotations

import pytest

from jupyter_offload.api.models import Cluster
from tests.stack.interlink.accounts import USER_RULES, make_user

from ..keeper.conftest import until
from .conftest import SITE, FarDesk

#: Short, so that what is given up is given up while the test watches.
HASTE = {
    "deadlines": {"scheduled_s": 10, "accepted_s": 5, "queued_s": 60, "connected_s": 60},
    "storm": {"failures": 2, "within_s": 300},
}


def asked(far: FarDesk, name: str, workers: int = 1, **spec: object) -> str:
    return far.new(name, workers, ready=False, site=SITE, **spec).id


def told(far: FarDesk, name: str, code: str) -> Cluster:
    """Wait until the card gives this reason."""
    return far.when(name, lambda c: c.reason.code.value == code)


def test_nothing_free_waits_and_says_for_what(far: FarDesk) -> None:
    """Kubernetes has two GPUs; the third worker waits, and starts when one ends."""
    asked(far, "gpus", 3, profile="gpu")
    cluster = far.when("gpus", lambda c: c.workers.connected == 2 and c.reason.code.value == "no-capacity")
    assert "Insufficient nvidia.com/gpu" in cluster.reason.message
    assert cluster.reason.hint
    waiting = next(w for w in cluster.worker_list if w.stage == "submitted")
    assert waiting.code == "no-capacity" and waiting.deadline_at is not None
    far.change("gpus", workers=2)
    cluster = far.when("gpus", lambda c: c.workers.connected == 2 and len(c.worker_list) == 2)
    assert waiting.name not in {w.name for w in cluster.worker_list}, "who waits goes first"


def test_the_queue_of_the_site_is_quoted(far: FarDesk) -> None:
    far.node.plugin.misbehave(queue="QOSMaxCpuPerUserLimit")
    asked(far, "queued", 2)
    cluster = told(far, "queued", "site-queued")
    assert "PENDING (QOSMaxCpuPerUserLimit)" in cluster.reason.message
    assert {w.stage for w in cluster.worker_list} == {"queued"}
    far.node.plugin.behave()
    far.when("queued", lambda c: c.workers.connected == 2)
    assert "worker-queued" in far.codes("queued")


def test_a_refusal_ends_in_the_words_of_the_site(far: FarDesk) -> None:
    """No storm of jobs: after two in a row no more are asked for."""
    far.write_site(**HASTE)
    far.node.plugin.misbehave(refuse="the partition gpu is closed for maintenance")
    before = len(far.node.plugin.requests("/create"))
    asked(far, "refused", 2)
    cluster = far.phase("refused", "failed")
    assert cluster.reason.code.value == "workers-failing"
    assert "the partition gpu is closed for maintenance" in cluster.reason.message
    assert "site-refused" in far.codes("refused")
    assert len(far.node.plugin.requests("/create")) - before <= 4
    far.nothing_left(cluster.id)


def test_images_that_cannot_run_a_worker(far: FarDesk, old_image: str) -> None:
    far.write_site(**HASTE, images={"nowhere": "registry.invalid/none", "bare": "bare", "old": old_image})
    asked(far, "imageless", image="nowhere")
    assert "registry.invalid/none" in told(far, "imageless", "image-failed").reason.message
    far.stop("imageless")
    asked(far, "bare", image="bare")
    bare = far.phase("bare", "failed").reason
    assert "has no" in bare.message and "distributed" in bare.message and "pip install" in (bare.hint or "")
    asked(far, "old", image="old")
    old = far.phase("old", "failed").reason
    assert "distributed" in old.message and "2024" in old.message
    assert "version-mismatch" in far.codes("old")


def test_files_that_a_plugin_loses(far: FarDesk) -> None:
    far.write_site(**HASTE)
    far.node.plugin.misbehave(drop_secrets=True)
    cluster = asked(far, "lost")
    assert far.phase("lost", "failed").reason.code.value == "workers-failing"
    assert "files-missing" in far.codes("lost")
    far.nothing_left(cluster)


def test_a_quota_and_missing_rights_are_named(far: FarDesk) -> None:
    far.node.cluster.make_namespace("jupyter-small")
    far.node.cluster.make_quota("jupyter-small", pods="1")
    far.kubeconfig = make_user(far.node.cluster, "small", "jupyter-small")
    far.write_site("small")
    far.new("quota", 2, ready=False, site="small")
    reason = told(far, "quota", "quota-exceeded").reason
    assert "pods" in reason.message and reason.hint
    far.stop("quota")
    nothing = [r for r in USER_RULES if r["resources"] != ["pods"]]
    nothing.append({"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "get", "delete"]})
    far.kubeconfig = make_user(far.node.cluster, "weak", "jupyter-weak", rules=nothing)
    far.write_site("weak")
    far.new("denied", 1, ready=False, site="weak")
    reason = told(far, "denied", "access-denied").reason
    assert "create" in reason.message and "pods" in reason.message and "kubectl" in (reason.hint or "")


def test_what_the_site_never_heard_of_is_asked_for_anew(far: FarDesk) -> None:
    """The virtual kubelet never repeats a creation that failed."""
    far.write_site(**HASTE)
    far.node.kill("plugin")
    cluster = asked(far, "unheard")
    far.when(
        "unheard",
        lambda c: any(w.code == "site-silent" for w in c.worker_list) or "site-silent" in far.codes("unheard"),
    )
    far.node.start("plugin")
    far.when("unheard", lambda c: c.workers.connected == 1)
    far.stop("unheard")
    far.nothing_left(cluster)


@pytest.mark.parametrize("status", ["null", "stale"])
def test_odd_answers_about_pods_harm_nobody(far: FarDesk, status: str) -> None:
    """Dask's own list of workers counts, whatever a plugin says of their pods."""
    cluster = far.new("odd", 1, site=SITE).id
    looks = len(far.node.plugin.requests("/status"))
    far.node.plugin.misbehave(status=status)
    until(lambda: len(far.node.plugin.requests("/status")) > looks + 1, wrong="nobody asked the plugin")
    assert far.get("odd").workers.connected == 1
    with far.dask("odd") as client:
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
    far.node.plugin.behave()
    far.stop("odd")
    far.nothing_left(cluster)


def test_a_plugin_that_answers_a_creation_with_201(far: FarDesk) -> None:
    """interLink takes that for a failure and never tells a number; the job runs all the same, and its worker counts."""
    far.node.plugin.misbehave(create_status=201)
    cluster = asked(far, "created")
    seen = far.when("created", lambda c: c.workers.connected == 1)
    assert all(w.site_id is None for w in seen.worker_list)
    with far.dask("created") as client:
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
    far.node.plugin.behave()
    far.stop("created")
    far.nothing_left(cluster)
