"""The keeper's pod as it is asked for."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from jupyter_offload.api.problems import Unavailable
from jupyter_offload.doorway import pod
from jupyter_offload.doorway.pod import Here
from jupyter_offload.doorway.settings import Placement

SERVER = {
    "spec": {
        "securityContext": {"fsGroup": 100, "supplementalGroups": [7], "runAsUser": 999},
        "imagePullSecrets": [{"name": "registry"}],
        "volumes": [
            {"name": "home", "persistentVolumeClaim": {"claimName": "claim-ann"}},
            {"name": "sites", "configMap": {"name": "jupyter-offload-sites"}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "token", "projected": {"sources": []}},
        ],
        "containers": [
            {"name": "sidecar", "image": "example.org/sidecar:1"},
            {
                "name": "notebook",
                "image": "example.org/lab:7",
                "env": [{"name": "JUPYTERHUB_API_TOKEN", "value": "a-secret"}],
                "volumeMounts": [
                    {"name": "home", "mountPath": "/home/ann", "subPath": "ann"},
                    {"name": "sites", "mountPath": "/etc/jupyter/offload/sites", "readOnly": True},
                    {"name": "scratch", "mountPath": "/scratch"},
                    {"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                ],
            },
        ],
    }
}


def here(**changes: Any) -> Here:
    given: dict[str, Any] = {
        "owner": "0123456789abcdef", "uid": 1000, "gid": 100, "python": "/opt/conda/bin/python3.11",
        "paths": ["/home/ann", "/home/ann/.local/share/jupyter/offload", "/etc/jupyter/offload"],
        "environment": {"HOME": "/home/ann"}, "pod": SERVER, "host": "jupyter-ann",
    }  # fmt: skip
    return Here(**(given | changes))


def test_what_is_not_said_is_as_in_the_servers_pod() -> None:
    made = pod.pod(Placement(), here())
    spec, container = made["spec"], made["spec"]["containers"][0]
    assert made["metadata"]["name"] == "offload-keeper-0123456789abcdef"
    assert made["metadata"]["labels"]["offload.dask.org/role"] == "keeper"
    assert made["metadata"]["labels"]["offload.dask.org/owner"] == "0123456789abcdef"
    assert container["image"] == "example.org/lab:7"
    assert container["command"][0] == "/opt/conda/bin/python3.11"
    assert [v["name"] for v in spec["volumes"]] == ["home", "sites", "offload-door"]
    assert container["volumeMounts"][0] == {"name": "home", "mountPath": "/home/ann", "subPath": "ann"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert (spec["securityContext"]["fsGroup"], spec["securityContext"]["supplementalGroups"]) == (100, [7])


def test_the_servers_own_token_never_comes_along() -> None:
    spec = pod.pod(Placement(), here(paths=["/"]))["spec"]
    assert [v["name"] for v in spec["volumes"]] == ["home", "sites", "scratch", "offload-door"]


def test_no_group_is_made_up_that_would_open_the_files_of_the_home() -> None:
    own = {"spec": {**SERVER["spec"], "securityContext": {}}}
    spec = pod.pod(Placement(), here(pod=own))["spec"]
    assert "fsGroup" not in spec["securityContext"]
    assert spec["volumes"][-1]["secret"]["defaultMode"] == 0o444
    assert pod.pod(Placement(), here())["spec"]["volumes"][-1]["secret"]["defaultMode"] == 0o440


def test_it_may_do_no_more_than_it_must() -> None:
    spec = pod.pod(Placement(), here())["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["restartPolicy"] == "Never"
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsNonRoot"]) == (1000, True)
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    own = spec["containers"][0]["securityContext"]
    assert own == {"allowPrivilegeEscalation": False, "privileged": False, "capabilities": {"drop": ["ALL"]}}
    assert "serviceAccountName" not in spec
    with_account = pod.pod(Placement(service_account="keeper"), here())["spec"]
    assert (with_account["serviceAccountName"], with_account["automountServiceAccountToken"]) == ("keeper", True)


def test_nothing_of_the_session_is_in_it() -> None:
    made = json.dumps(pod.pod(Placement(environment={"TZ": "UTC"}), here()))
    assert "a-secret" not in made
    assert "JUPYTERHUB" not in made
    assert {"name": "TZ", "value": "UTC"} in json.loads(made)["spec"]["containers"][0]["env"]


def test_the_secret_holds_what_the_door_shows_and_whom_it_lets_in() -> None:
    made = pod.secret("0123456789abcdef", b"authority", b"door")
    assert {k: base64.b64decode(v) for k, v in made["data"].items()} == {"ca.pem": b"authority", "door.pem": b"door"}
    assert made["metadata"]["name"] == pod.name_of("0123456789abcdef")


def test_settings_win_over_the_servers_pod() -> None:
    placement = Placement(
        image="example.org/keeper:2", cores=0.5, memory_bytes=2**30, node_selector={"pool": "services"}, port=9000,
        volumes=[{"name": "nfs", "nfs": {"server": "s", "path": "/home"}}], mounts=[{"name": "nfs", "mountPath": "/home"}],
        labels={"team": "physics"}, idle_s=60,
    )  # fmt: skip
    made = pod.pod(placement, here())
    container = made["spec"]["containers"][0]
    assert container["command"][0] == "python3"
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "1073741824"}
    assert [v["name"] for v in made["spec"]["volumes"]] == ["nfs", "offload-door"]
    assert made["spec"]["nodeSelector"] == {"pool": "services"}
    assert made["metadata"]["labels"]["team"] == "physics"
    assert container["ports"] == [{"name": "door", "containerPort": 9000}]
    assert {"name": "JUPYTER_OFFLOAD_KEEPER_IDLE_S", "value": "60"} in container["env"]


def test_a_changed_setting_makes_another_pod_of_it() -> None:
    def digest(placement: Placement) -> str:
        return str(pod.pod(placement, here())["metadata"]["annotations"][pod.MADE_FROM])

    assert digest(Placement()) == digest(Placement())
    assert digest(Placement()) != digest(Placement(image="example.org/keeper:2"))


def test_outside_of_a_pod_the_image_must_be_said() -> None:
    with pytest.raises(Unavailable) as caught:
        pod.pod(Placement(), here(pod=None))
    assert caught.value.field == "image"
    assert "image: ..." in str(caught.value.hint)
    assert pod.pod(Placement(image="example.org/lab:1"), here(pod=None))["spec"]["containers"][0]["image"]


@pytest.mark.parametrize(
    ("volumes", "mounts", "lasts"),
    [
        ([{"name": "h", "persistentVolumeClaim": {}}], [{"name": "h", "mountPath": "/home/ann"}], True),
        ([{"name": "h", "emptyDir": {}}], [{"name": "h", "mountPath": "/home/ann"}], False),
        ([{"name": "h", "persistentVolumeClaim": {}}], [{"name": "h", "mountPath": "/home/bob"}], False),
        ([], [], False),
        # the innermost one counts
        (
            [{"name": "h", "persistentVolumeClaim": {}}, {"name": "e", "emptyDir": {}}],
            [{"name": "h", "mountPath": "/home/ann"}, {"name": "e", "mountPath": "/home/ann/.local"}],
            False,
        ),
    ],
)
def test_whether_records_outlive_the_pod(volumes: Any, mounts: Any, lasts: bool) -> None:
    made = {"spec": {"volumes": volumes, "containers": [{"volumeMounts": mounts}]}}
    assert pod.keeps_records(made, "/home/ann/.local/share/jupyter/offload") is lasts
