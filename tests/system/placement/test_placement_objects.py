"""The keeper's pod and Secret as a real API server takes them."""

from __future__ import annotations

import asyncio
import datetime

import pytest

from jupyter_offload.api.models import ClusterList
from jupyter_offload.doorway import identity, pod
from jupyter_offload.doorway.app import Doorway
from jupyter_offload.doorway.placing import Attempt
from jupyter_offload.doorway.settings import Placement
from tests.stack.kubernetes import client as stack

from .conftest import User, until


@pytest.mark.parametrize("uid", [1000, 0])
def test_a_namespace_with_the_strictest_rules_takes_it_unless_the_user_is_root(
    kubernetes: stack.Cluster, uid: int
) -> None:
    name = f"strict-{uid}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubernetes.make("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    kubernetes.until(lambda: kubernetes.admin.get(account).status_code == 200)
    placement = Placement(
        image="example.org/lab:1", service_account="default", node_selector={"pool": "a"}, labels={"team": "x"},
        volumes=[{"name": "home", "persistentVolumeClaim": {"claimName": "claim-ann"}}],
        mounts=[{"name": "home", "mountPath": "/home/ann", "subPath": "ann"}],
        tolerations=[{"key": "pool", "operator": "Exists"}],
    )  # fmt: skip
    here = pod.Here(owner="0123456789abcdef", uid=uid, gid=100, python="python", paths=["/home/ann"])
    answer = kubernetes.admin.post(
        f"/api/v1/namespaces/{name}/pods", json=pod.pod(placement, here),
        params={"dryRun": "All", "fieldValidation": "Strict"},
    )  # fmt: skip
    assert answer.status_code == (201 if uid else 403), answer.text


def test_a_certificate_that_ends_soon_is_renewed_in_the_running_pod(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_after() -> None:
        place = await Attempt().place()
        try:
            await Doorway()._renew(place)
        finally:
            await place.wire.close()

    asyncio.run(look_after())
    before = user.object("secrets")
    assert before is not None
    asyncio.run(look_after())
    assert user.object("secrets") == before  # it is good for long
    monkeypatch.setattr(identity, "RENEWED_BEFORE", datetime.timedelta(days=100))
    asyncio.run(look_after())
    after = user.object("secrets")
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
    assert after["data"]["door.pem"] != before["data"]["door.pem"]
    assert after["data"]["ca.pem"] == before["data"]["ca.pem"]


def test_two_doorways_at_once_make_one_pod(user: User) -> None:
    """Two servers of one user that share a home."""

    async def both() -> list[str]:
        places = await asyncio.gather(*(Attempt().place() for _ in range(4)))
        for place in places:
            await place.wire.close()
        return [str(p.made["metadata"]["uid"]) for p in places]

    uids = asyncio.run(both())
    assert set(uids) == {user.pod()["metadata"]["uid"]}
    # whoever's Secret is there goes with that pod
    held = user.object("secrets")
    assert held is not None
    assert {o["uid"] for o in held["metadata"]["ownerReferences"]} == set(uids)


def test_a_pod_that_was_left_without_its_secret_gets_one(user: User) -> None:
    """The one who made it was cut off before it could know."""
    user.client.call("listClusters", ClusterList)
    made = user.pod()
    spec = {
        k: v for k, v in made["spec"].items() if k not in ("nodeName", "tolerations", "priority", "preemptionPolicy")
    }
    kept = {k: made["metadata"][k] for k in ("name", "labels", "annotations")}
    path = f"/api/v1/namespaces/{user.kubernetes.namespace}/pods"
    user.kubernetes.admin.request("DELETE", f"{path}/{user.name}", json={"gracePeriodSeconds": 1})
    until(lambda: user.object() is None and user.object("secrets") is None)
    user.kubernetes.make(path, {"metadata": kept, "spec": spec})
    assert user.client.call("listClusters", ClusterList).clusters == []
    held = user.object("secrets")
    assert held is not None
    assert held["metadata"]["ownerReferences"][0]["uid"] == user.pod()["metadata"]["uid"]
