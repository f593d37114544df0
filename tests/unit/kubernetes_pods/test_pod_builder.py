"""The pod of a worker keeps the contract of interLink's plugins, whatever is asked for."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_offload.api.models import Accelerator, Profile, WorkerImage
from jupyter_offload.backends.kubernetes import names
from jupyter_offload.backends.kubernetes.contract import violations
from jupyter_offload.backends.kubernetes.options import KubernetesOptions
from jupyter_offload.backends.kubernetes.placement import Placement, tolerations
from jupyter_offload.backends.kubernetes.pods import (
    PodRequest,
    dask_resources,
    memory_limit_bytes,
    owned_by,
    pod_of,
    resources_of,
    secret_of,
)

SLUG = st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True)
RESOURCES = st.sampled_from(["nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "xilinx.com/fpga", "amd.com/gpu"])
PROFILES = st.builds(
    Profile,
    name=SLUG,
    cores=st.integers(1, 256),
    memory_bytes=st.integers(2**20, 2**44),
    accelerators=st.lists(st.builds(Accelerator, resource=RESOURCES, count=st.integers(1, 8)), max_size=3),
)
IMAGES = st.builds(
    WorkerImage,
    name=SLUG,
    image=st.text(min_size=1, max_size=80),
    python=st.sampled_from(["python3", "/opt/x/bin/python"]),
)


def request(**more: Any) -> PodRequest:
    options = KubernetesOptions.model_validate({"node": "vk", **more.pop("options", {})})
    taints = [{"key": "site", "value": "a", "effect": "NoSchedule"}]
    fields: dict[str, Any] = {
        "worker": names.new_worker(), "owner": "0123456789abcdef", "cluster": "c1", "cluster_name": "zmumu",
        "profile": Profile(name="small", cores=1, memory_bytes=2**30), "image": WorkerImage(name="a", image="b"),
        "placement": Placement({"kubernetes.io/hostname": "vk"}, tolerations(options, taints, virtual=True)),
        "options": options, "virtual": True,
    }  # fmt: skip
    return PodRequest(**fields | more)


@given(profile=PROFILES, image=IMAGES)
def test_the_contract_is_kept(profile: Profile, image: WorkerImage) -> None:
    made = pod_of(request(profile=profile, image=image))
    assert violations(made, secret_of(request(), {"worker.pyz": b"", "job.json": b"{}"})) == []


def test_only_the_administrator_adds_annotations_and_host_paths() -> None:
    options = {
        "annotations": {"slurm-job.vk.io/flags": "--account=x"},
        "profile_annotations": {"gpu": {"slurm-job.vk.io/flags": "--gres=gpu:1"}},
        "host_paths": [{"path": "/cvmfs"}],
    }
    made = pod_of(request(options=options))
    assert made["metadata"]["annotations"] == {"slurm-job.vk.io/flags": "--account=x", names.CLUSTER_NAME: "zmumu"}
    gpu = pod_of(request(options=options, profile=Profile(name="gpu", cores=1, memory_bytes=2**30)))
    assert gpu["metadata"]["annotations"]["slurm-job.vk.io/flags"] == "--gres=gpu:1"
    assert [v["hostPath"] for v in made["spec"]["volumes"] if "hostPath" in v] == [
        {"path": "/cvmfs", "type": "Directory"}
    ]
    assert violations(made) == []


def test_nothing_secret_is_in_the_pod() -> None:
    asked = request()
    secret = secret_of(asked, {"worker.pem": b"hush"})
    made = pod_of(asked)
    assert "hush" not in json.dumps(made) and "env" not in made["spec"]["containers"][0]
    assert secret["immutable"] and secret["metadata"]["labels"] == made["metadata"]["labels"]
    reference = owned_by({"metadata": {"name": "p", "uid": "u"}})["metadata"]["ownerReferences"][0]
    assert (reference["kind"], reference["name"], reference["uid"]) == ("Pod", "p", "u")


def test_ordinary_nodes_get_a_hardened_pod_and_virtual_ones_no_user() -> None:
    """A plugin would hand a user id on to the batch system."""
    assert "securityContext" not in pod_of(request())["spec"]
    spec = pod_of(request(virtual=False))["spec"]
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_words_that_a_shell_would_read_are_refused() -> None:
    with pytest.raises(ValueError, match="a shell would read"):
        pod_of(request(image=WorkerImage(name="a", image="b", python="python3; rm -r /")))


@given(profile=PROFILES)
def test_dask_gets_less_than_the_site_gives(profile: Profile) -> None:
    given_bytes = int(resources_of(profile)["memory"].removesuffix("Mi")) * 2**20
    assert 0 < memory_limit_bytes(profile) < given_bytes or given_bytes == 2**20
    assert sum(dask_resources(profile.accelerators).values()) == sum(a.count for a in profile.accelerators)


BREACHES: dict[str, tuple[Any, str]] = {
    "restarts": (lambda p: p["spec"].update(restartPolicy="Always"), "restartPolicy"),
    "token": (lambda p: p["spec"].update(automountServiceAccountToken=True), "automountServiceAccountToken"),
    "links": (lambda p: p["spec"].pop("enableServiceLinks"), "enableServiceLinks"),
    "user": (lambda p: p["spec"].update(securityContext={"runAsUser": 0}), "runAsUser"),
    "selector": (lambda p: p["spec"]["nodeSelector"].update({"kubernetes.io/os": "linux"}), "kubernetes.io/os"),
    "tolerations": (lambda p: p["spec"].update(tolerations=[]), "tolerations"),
    "claim": (lambda p: p["spec"]["volumes"].append({"name": "x", "persistentVolumeClaim": {}}), "persistentVolumeClaim"),
    "scratch": (lambda p: p["spec"]["volumes"].append({"name": "x", "emptyDir": {}}), "emptyDir"),
    "two": (lambda p: p["spec"]["containers"].append(copy.deepcopy(p["spec"]["containers"][0])), "2 containers"),
    "init": (lambda p: p["spec"].update(initContainers=[{}]), "initContainers"),
    "args": (lambda p: first(p).update(args=["x"]), "args"),
    "probe": (lambda p: first(p).update(readinessProbe={}, livenessProbe={"exec": {}}), "livenessProbe"),
    "shell": (lambda p: first(p)["command"].append("$(HOME)"), "$(HOME)"),
    "reference": (lambda p: first(p).update(env=[{"name": "A", "valueFrom": {}}]), "not literal"),
    "half a core": (lambda p: both(p, cpu="500m"), "500m"),
    "bytes": (lambda p: both(p, memory="1073741824"), "Mi or Gi"),
    "limits": (lambda p: first(p)["resources"].update(requests={"cpu": "1"}), "differ"),
    "scratch space": (lambda p: both(p, **{"ephemeral-storage": "1Gi"}), "ephemeral-storage"),
    "name": (lambda p: p["metadata"].update(name="x" * 26), "25 characters"),
}  # fmt: skip


def first(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["spec"]["containers"][0]
    return found


def both(made: dict[str, Any], **more: str) -> None:
    limits = {**first(made)["resources"]["limits"], **more}
    first(made)["resources"] = {"limits": limits, "requests": dict(limits)}


@pytest.mark.parametrize("breach", BREACHES)
def test_each_breach_is_found(breach: str) -> None:
    made = copy.deepcopy(pod_of(request()))
    change, told = BREACHES[breach]
    change(made)
    assert any(told in v for v in violations(made)), violations(made)
