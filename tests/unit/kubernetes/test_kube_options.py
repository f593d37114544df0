"""Options of a Kubernetes site: every mistake at once, each with its place and its remedy."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_offload.api.models import FieldProblem, Profile, SiteDefinition
from jupyter_offload.api.problems import BadInput
from jupyter_offload.backends.kubernetes.options import KubernetesOptions, read_options


def site(**options: Any) -> SiteDefinition:
    profiles = [
        Profile(name="small", cores=1, memory_bytes="2 GiB"),
        Profile(name="gpu", cores=4, memory_bytes="16 GiB"),
    ]
    return SiteDefinition(name="leonardo", backend="kubernetes", profiles=profiles, options=options)


def problems(**options: Any) -> dict[str, FieldProblem]:
    with pytest.raises(BadInput) as caught:
        read_options(site(**options))
    return {p.field: p for p in caught.value.errors}


def test_everything_that_may_be_written() -> None:
    options = read_options(
        site(
            node="vk-leonardo", kubeconfig="~/offload.kubeconfig", context="work", namespace="jupyter",
            annotations={"slurm-job.vk.io/flags": "--account=x", "example.org/a": "1"},
            profile_annotations={"gpu": {"slurm-job.vk.io/flags": "--gres=gpu:a100:1"}},
            tolerations=[{"key": "pool.vk.io", "operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute"}],
            host_paths=[{"path": "/cvmfs"}, {"path": "/scratch", "read_only": False}],
            accelerator_models={"nvidia.com/gpu": "A100"}, mount_path="/run/offload/", unreachable_toleration_s="2 h",
            deadlines={"queued_s": "3 d"}, storm={"failures": 2}, lifetime_margin_s=60,
        )
    )  # fmt: skip
    assert options.annotations_of("small") == {"slurm-job.vk.io/flags": "--account=x", "example.org/a": "1"}
    assert options.annotations_of("gpu") == {"slurm-job.vk.io/flags": "--gres=gpu:a100:1", "example.org/a": "1"}
    assert [t.as_kubernetes() for t in options.tolerations] == [
        {"key": "pool.vk.io", "operator": "Exists"},
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"},
    ]
    assert options.host_paths[0].read_only and not options.host_paths[1].read_only
    assert options.mount_path == "/run/offload"
    assert (options.deadlines.queued_s, options.deadlines.scheduled_s) == (3 * 86400, 60)
    assert "~" not in str(options.kubeconfig_path())


def test_what_stands_where_nothing_is_written() -> None:
    options = read_options(site(node_selector={"pool": "dask"}))
    assert options.mount_path == "/run/offload"
    assert options.unreachable_toleration_s == 3600
    assert options.model_dump()["deadlines"] == {
        "scheduled_s": 60, "accepted_s": 30, "queued_s": 86400, "connected_s": 180, "deleted_s": 600,
    }  # fmt: skip
    assert options.kubeconfig_path() is None


def test_all_mistakes_are_said_at_once() -> None:
    found = problems(
        nodes="vk", mount_path="/run/$HOME", namespace="Jupyter", kubeconfig="kube/config", host_paths=[{"path": "cvmfs"}],
        annotations={"JobID": "7", "two words": "x"}, profile_annotations={"big": {"a": "b"}},
        tolerations=[{"operator": "Exists", "value": "x"}, {}], deadlines={"queued": 3}, storm={"failures": 0},
        unreachable_toleration_s="banana",
    )  # fmt: skip
    assert set(found) == {
        "options", "options.nodes", "options.mount_path", "options.namespace", "options.kubeconfig",
        "options.host_paths[0].path", "options.annotations.JobID", "options.annotations.two words",
        "options.profile_annotations.big", "options.tolerations[0]", "options.tolerations[1]", "options.deadlines.queued",
        "options.storm.failures", "options.unreachable_toleration_s",
    }  # fmt: skip
    assert all(p.message and p.hint for p in found.values())
    assert "virtual-nodes" in str(found["options"].hint)
    assert found["options.nodes"].hint == "Did you mean node?"
    assert found["options.deadlines.queued"].hint == "Did you mean queued_s?"
    assert "small, gpu" in str(found["options.profile_annotations.big"].hint)


@pytest.mark.parametrize(
    "options",
    [
        {"node": "a", "node_selector": {"pool": "dask"}},
        {"node": "a", "discover": "virtual-nodes"},
        {"node_selector": {"pool": "dask"}, "discover": "virtual-nodes"},
    ],
)
def test_one_place_only(options: dict[str, Any]) -> None:
    (problem,) = problems(**options).values()
    assert "exclude each other" in problem.message


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"annotations": {"a": 1}}, "options.annotations.a"),
        ({"annotations": ["a"]}, "options.annotations"),
        ({"host_paths": [{"path": "/cvmfs/../etc"}]}, "options.host_paths[0].path"),
        ({"host_paths": "/cvmfs"}, "options.host_paths"),
        ({"host_paths": [{"path": "/cvmfs", "read_only": "perhaps"}]}, "options.host_paths[0].read_only"),
        ({"mount_path": "/a b"}, "options.mount_path"),
        ({"tolerations": [{"key": "a", "effect": "Never"}]}, "options.tolerations[0].effect"),
        ({"profile_annotations": {"gpu": {"offload.dask.org/owner": "me"}}}, "options.profile_annotations.gpu.offload.dask.org/owner"),
        ({"storm": {"failures": "many"}}, "options.storm.failures"),
        ({"node": "Not A Node"}, "options.node"),
        ({"privileged": True}, "options.privileged"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_place_and_a_remedy(options: dict[str, Any], field: str) -> None:
    found = problems(**{"node": "vk", **options})
    assert list(found) == [field]
    assert found[field].message
    assert found[field].hint


def test_every_option_is_described() -> None:
    for model in (KubernetesOptions, *(f.annotation for f in KubernetesOptions.model_fields.values())):
        for field in getattr(model, "model_fields", {}).values():
            assert field.description
