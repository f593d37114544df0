"""What is made at the site, and what an administrator may write."""

from __future__ import annotations

import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from jupyter_offload.api.models import ID_PATTERN, NAME_PATTERN, Adaptive, ClusterSpec, SiteDefinition
from jupyter_offload.api.problems import BadInput
from jupyter_offload.backends.dask_operator import DaskOperatorBackend, names, objects
from jupyter_offload.backends.dask_operator.options import read_options
from jupyter_offload.ports import ClusterContext

SITE = SiteDefinition.model_validate({
    "name": "operator", "backend": "dask-operator",
    "profiles": [{"name": "gpu", "cores": 2, "memory_bytes": "4 GiB", "architecture": "arm64",
                  "accelerators": [{"resource": "nvidia.com/gpu", "count": 1}]}],
    "images": [{"name": "default", "image": "dask:1", "python": "/opt/python"}, {"name": "new", "image": "dask:2"}],
    "options": {"node_selector": {"pool": "dask"}, "tolerations": [{"key": "pool", "operator": "Exists"}]},
})  # fmt: skip


def context(**spec: object) -> ClusterContext:
    wanted = ClusterSpec.model_validate({"name": "Zpeak", "site": "operator", "env": {"A": "b"}, **spec})
    return ClusterContext("c0123456789abcdef", wanted.name, "o" * 16, "alice", wanted, SITE.profiles[0], {}, None)


def made(**spec: object) -> dict:
    return objects.dask_cluster(context(**spec), 3, SITE, read_options(SITE))


def test_pods_are_where_and_as_large_as_they_should_be_and_have_no_account() -> None:
    found = made()
    worker, scheduler = found["spec"]["worker"]["spec"], found["spec"]["scheduler"]["spec"]
    for pod in (worker, scheduler):
        assert pod["nodeSelector"] == {"pool": "dask", "kubernetes.io/arch": "arm64"}
        assert pod["tolerations"] == [{"key": "pool", "operator": "Exists"}]
        assert pod["automountServiceAccountToken"] is False
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
        assert pod["containers"][0]["env"] == [{"name": "A", "value": "b"}]
        assert pod["containers"][0]["image"] == "dask:1"
        assert pod["containers"][0]["command"][0] == "/opt/python"
    size = {"cpu": "2", "memory": str(4 * 2**30), "nvidia.com/gpu": "1"}
    assert worker["containers"][0]["resources"] == {"requests": size, "limits": size}
    assert "nvidia.com/gpu" not in scheduler["containers"][0]["resources"]["limits"]
    assert found["spec"]["worker"]["replicas"] == 3


def test_it_carries_whose_it_is() -> None:
    labels = made()["metadata"]["labels"]
    assert labels == {names.OWNER: "o" * 16, names.CLUSTER: "c0123456789abcdef", names.MANAGER: "jupyter-offload"}


def test_image_modules_and_idle_timeout_are_what_was_asked() -> None:
    found = made(image="new", modules=["numpy", "a.b"], idle_timeout_s=600)
    command = found["spec"]["worker"]["spec"]["containers"][0]["args"]
    assert found["spec"]["scheduler"]["spec"]["containers"][0]["args"], "KubeCluster.from_name() reads them"
    assert command[-4:] == ["--preload", "numpy", "--preload", "a.b"]
    assert found["spec"]["scheduler"]["spec"]["containers"][0]["image"] == "dask:2"
    assert found["spec"]["idleTimeout"] == 600
    with pytest.raises(BadInput, match="no image 'old'"):
        made(image="old")


def test_an_autoscaler_ends_with_its_cluster() -> None:
    found = {**made(), "metadata": {**made()["metadata"], "uid": "u"}}
    spec = ClusterSpec(name="x", adaptive=Adaptive(minimum=1, maximum=5))
    scaler = objects.autoscaler(found, spec)
    assert scaler["spec"] == {"cluster": found["metadata"]["name"], "minimum": 1, "maximum": 5}
    assert scaler["metadata"]["ownerReferences"][0]["uid"] == "u"


async def test_a_preview_is_the_object_without_the_values_of_variables() -> None:
    backend = DaskOperatorBackend(SITE)
    try:
        spec = context(env={"PASSWORD": "hush"}).spec
        preview = backend.preview(spec, SITE.profiles[0], "python")
    finally:
        await backend.close()
    shown = yaml.safe_load(preview.text)
    assert shown["kind"] == "DaskCluster"
    assert "hush" not in preview.text
    assert any("encrypted" in each for each in preview.warnings)


@given(st.from_regex(NAME_PATTERN, fullmatch=True), st.from_regex(ID_PATTERN, fullmatch=True))
def test_every_name_is_one_that_the_operator_takes(shown: str, cluster_id: str) -> None:
    """At most 53 letters, digits and '-', not at an end: https://kubernetes.dask.org/en/latest/operator_resources.html"""
    name = names.cluster_name(shown.strip(), cluster_id.strip())
    assert len(name) <= 53
    assert set(name) <= set(string.ascii_lowercase + string.digits + "-")
    assert name[0] != "-" != name[-1]


@pytest.mark.parametrize(
    ("changes", "field", "word"),
    [
        ({"images": []}, "images", "No image"),
        ({"options": {"nodes": {}}}, "options.nodes", "no option 'nodes'"),
        ({"options": {"kubeconfig": "here"}}, "options.kubeconfig", "depends on where"),
        ({"options": {"deadlines": {"operator_s": "soon"}}}, "options.deadlines.operator_s", ""),
        ({"options": {"tolerations": [{"operator": "Equal"}]}}, "options.tolerations[0]", "needs a key"),
    ],
)
def test_mistakes_name_place_and_remedy(changes: dict, field: str, word: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_options(SITE.model_copy(update=changes))
    [problem] = caught.value.errors
    assert problem.field == field
    assert word in problem.message
