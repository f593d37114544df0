"""A keeper in a pod of its own, behind its doorway: what its user sees, and what survives what."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from jupyter_offload.api import locations
from jupyter_offload.api.models import Changes, Cluster, ClusterList, DashboardTarget, Findings, LogSources, Timeline
from jupyter_offload.api.problems import NotFound, Unavailable
from jupyter_offload.doorway import pod as pods

from .conftest import User, until


def test_a_cluster_through_the_doorway(user: User) -> None:
    cluster = user.new("placed", workers=2)
    assert not cluster.ends_with_server
    pod = user.pod()
    address = pod["status"]["podIP"]
    assert user.connection("placed").scheduler_address.startswith(f"tls://{address}:")
    with user.dask("placed") as dask:
        assert dask.submit(sum, [1, 2, 3]).result() == 6
        where = dask.submit(lambda: os.environ["JUPYTER_OFFLOAD_ADDRESS"]).result()
    assert where == address
    # the socket of this host is as private as a keeper's, and so is what was brought here
    assert stat.S_IMODE(locations.socket_path().stat().st_mode) == 0o600
    tls = user.connection("placed").tls
    assert tls is not None
    for path in (Path(tls.ca_file), Path(tls.cert_file), Path(user.connection("placed").connection_file)):
        assert path.is_relative_to(locations.runtime_folder())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = json.loads(Path(user.connection("placed").connection_file).read_text())
    assert tls.ca_file in json.dumps(told)
    user.client.call("deleteCluster", Cluster, id="placed")
    user.when("placed", lambda c: c.phase == "stopped")
    assert user.client.call("clusterTimeline", Timeline, id="placed").entries
    assert user.client.call("listLogs", LogSources, id="placed").sources


def test_a_notebook_and_a_terminal_need_to_know_nothing_of_it(user: User, home: Any) -> None:
    done = home.python(
        "import jupyter_offload as o\n"
        "from distributed import Client\n"
        "c = o.new_cluster('nb', workers=1)\n"
        "print(Client(c).submit(lambda: 6 * 7).result())\n"
    )
    assert done.stdout.strip().splitlines()[-1] == "42", done.stderr
    listed = home.offload("clusters", "list", "--json")
    assert [c["name"] for c in json.loads(listed.stdout)["clusters"]] == ["nb"]


def test_dashboards_come_through_the_doorway(user: User) -> None:
    cluster = user.new("seen")
    target = user.client.call("clusterDashboard", DashboardTarget, id="seen")
    assert target.plots
    assert stat.S_IMODE(Path(target.socket).stat().st_mode) == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=target.socket), timeout=30) as http:
        page = http.get("http://localhost/status")
        script = http.get("http://localhost/static/js/bokeh.min.js")
    assert page.status_code == 200
    assert "bokeh" in page.text
    assert len(script.content) > 500_000
    # by the id as well, and it is the same one
    assert user.client.call("clusterDashboard", DashboardTarget, id=cluster.id).socket == target.socket


class Server:
    """A real Jupyter server of this user, asked as a browser with its token asks."""

    def __init__(self, home: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = [
            "--no-browser",
            f"--port={port}",
            "--ip=127.0.0.1",
            "--allow-root",
            "--IdentityProvider.token=of-a-test",
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *words, f"--ServerApp.root_dir={home.folder}"],
            env=home.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": "token of-a-test"}, timeout=90
        )
        until(self._answers, "the server did not start")

    def _answers(self) -> bool:
        try:
            return self.http.get("/api").status_code == 200
        except httpx.TransportError:
            return False

    def offload(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"/offload/v1{path}", json=body)
        if answer.status_code == 503 and "Retry-After" in answer.headers:  # Lab asks again as well
            return self.offload(method, path, body)
        assert answer.is_success, answer.text
        return answer.json()

    def kill(self) -> None:
        self.http.close()
        self.process.kill()
        self.process.wait()


def test_clusters_outlive_the_server_and_its_doorway(user: User, home: Any) -> None:
    server = Server(home)
    made = server.offload("POST", "/clusters", {"spec": {"name": "kept", "workers": 1}})
    user.when("kept", lambda c: c.workers.connected == 1)
    with user.dask("kept") as dask:
        dask.datasets["answer"] = dask.submit(lambda: 42)
    uid = user.pod()["metadata"]["uid"]
    doorway = user.doorway
    doorway.kill()
    server.kill()
    until(lambda: not doorway.is_running() or doorway.status() == psutil.STATUS_ZOMBIE)

    server = Server(home)
    again = server.offload("GET", "/clusters/kept")
    assert (again["id"], again["phase"], again["workers"]["connected"]) == (made["id"], "running", 1)
    assert user.doorway.pid != doorway.pid
    assert user.pod()["metadata"]["uid"] == uid
    with user.dask("kept") as dask:
        assert dask.get_dataset("answer").result() == 42
    # its dashboard is shown by the server as any other
    ticket = server.offload("POST", "/clusters/kept/dashboard/ticket")
    page = server.http.get(f"/{ticket['path']}status")
    assert page.status_code == 200
    assert "bokeh" in page.text
    server.kill()


def test_after_its_pod_another_keeper_takes_up_the_records(user: User) -> None:
    cluster = user.new("lost")
    before = user.pod()["metadata"]["uid"]
    spill = f"jupyter-offload-spill-{os.getuid()}-{cluster.id}"
    user.kubernetes.admin.request(
        "DELETE", f"/api/v1/namespaces/{user.kubernetes.namespace}/pods/{user.name}", json={"gracePeriodSeconds": 1}
    )
    until(lambda: user.object() is None or user.pod()["metadata"]["uid"] != before)
    lost = user.when("lost", lambda c: c.phase == "failed")
    assert lost.id == cluster.id
    assert user.pod()["metadata"]["uid"] != before
    assert not (Path("/tmp") / spill).exists()
    assert not [p for p in user.in_pod() if "supervise" in p.cmdline()]
    user.new("next")
    names = [c.name for c in user.client.call("listClusters", ClusterList).clusters]
    assert names == ["next", "lost"]


def test_a_pod_that_has_nothing_to_do_ends_and_the_next_request_makes_another(user: User) -> None:
    user.place(idle_s=1)
    user.client.call("listClusters", ClusterList)
    first = user.pod()["metadata"]["uid"]
    until(lambda: user.pod()["status"]["phase"] == "Succeeded", "it did not end itself")
    # whoever only watches makes no pod, and lets the doorway end too
    doorway = user.doorway
    with pytest.raises(Unavailable):
        user.client.call("changes", Changes, timeout_s=1)
    until(lambda: not doorway.is_running() or doorway.status() == psutil.STATUS_ZOMBIE)
    assert user.pod()["metadata"]["uid"] == first
    user.client.call("listClusters", ClusterList)
    assert user.pod()["metadata"]["uid"] != first
    until(lambda: user.object("secrets") is not None)


def test_a_keeper_of_an_older_release_makes_room_once_no_cluster_would_end(user: User) -> None:
    user.new("busy")
    first = user.pod()["metadata"]["uid"]
    path = f"/api/v1/namespaces/{user.kubernetes.namespace}/pods/{user.name}"
    user.kubernetes.admin.patch(
        path, json={"metadata": {"annotations": {pods.RELEASE: "0.0.1"}}},
        headers={"Content-Type": "application/merge-patch+json"},
    ).raise_for_status()  # fmt: skip
    user.doorway.kill()
    assert user.get("busy").phase == "running"
    assert user.pod()["metadata"]["uid"] == first
    user.client.call("deleteCluster", Cluster, id="busy")
    user.when("busy", lambda c: c.phase == "stopped")
    # this doorway looks now and then; the next one looks first
    user.doorway.kill()
    assert [c.name for c in user.client.call("listClusters", ClusterList).clusters] == ["busy"]
    assert user.pod()["metadata"]["uid"] != first


def test_the_token_of_a_session_comes_to_the_pod_and_is_nowhere_else(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = user.file.with_name("relay.yaml")
    relay.write_text("addresses: [relay.invalid:443]\nidentity: {token_variable: JUPYTERHUB_API_TOKEN}\n")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "a-secret-of-the-session")
    user.new("plain")
    user.client.call("listClusters", ClusterList)
    kept = until(lambda: list((user.folder / "p").rglob("relay-token")), "the token did not come")
    assert [p.read_text() for p in kept] == ["a-secret-of-the-session"]
    assert stat.S_IMODE(kept[0].stat().st_mode) == 0o600

    keys = [
        line for line in (locations.data_folder() / "door" / "authority.pem").read_text().splitlines() if len(line) > 40
    ]
    secrets = ["a-secret-of-the-session", "PRIVATE KEY", *keys]
    seen = json.dumps(user.pod())
    for process in [*user.in_pod(), user.doorway]:
        seen += json.dumps([process.cmdline(), process.environ()])
    seen += user.log() + locations.doorway_log_path().read_text()
    assert not [s for s in secrets if s in seen]
    # the pod can let nobody in: the authority's key is not with it
    held = user.object("secrets")
    assert held is not None
    assert set(held["data"]) == {"ca.pem", "door.pem"}
    assert held["metadata"]["ownerReferences"][0]["uid"] == user.pod()["metadata"]["uid"]


def test_the_doctor_says_where_the_keeper_is(user: User) -> None:
    found = user.client.call("doctor", Findings).findings
    told = [f for f in found if f.check == "placement"]
    assert {f.state for f in told} == {"ok"}, told
    assert user.name in told[0].message
    assert "outlive" in told[1].message
    assert "valid for 8" in told[2].message or "valid for 9" in told[2].message
    assert {"data-folder", "clock"} <= {f.check for f in found}


def test_without_the_home_records_end_with_the_pod_and_the_doctor_says_so(user: User) -> None:
    user.place(
        volumes=[],
        mounts=[],
        environment={"JUPYTER_DATA_DIR": f"{user.folder}/elsewhere", "XDG_RUNTIME_DIR": f"{user.folder}/p"},
    )
    user.new("short")
    with user.dask("short") as dask:
        assert dask.submit(lambda: 1).result() == 1
    assert (user.folder / "elsewhere" / "offload" / "owner-id").read_text() == locations.owner_id()
    told = [f for f in user.client.call("doctor", Findings).findings if f.check == "placement"]
    assert any(f.state == "warning" and "end with the keeper's pod" in f.message for f in told)


def test_a_server_in_a_pod_says_what_its_keeper_runs(user: User) -> None:
    """Everything is left to the server's own pod: image, Python, volumes, account."""
    user.file.write_text(f"cores: 1\nmemory_bytes: 1 GiB\nenvironment: {{XDG_RUNTIME_DIR: {user.folder}/p}}\n")
    home = str(user.folder)
    code = (
        "import jupyter_offload as o; from distributed import Client\n"
        "c = o.new_cluster('from-pod', workers=1)\n"
        "print('RESULT', Client(c).submit(lambda: 6 * 7).result())\n"
    )
    env = {f"JUPYTER_{k}_DIR": f"{home}/{v}" for k, v in (("DATA", "data"), ("CONFIG", "config"), ("RUNTIME", "run"))}
    env |= {"HOME": home, "XDG_RUNTIME_DIR": f"{home}/x", "JUPYTERHUB_API_TOKEN": "a-secret-of-the-session"}
    space = f"/api/v1/namespaces/{user.kubernetes.namespace}/pods"
    server = {
        "metadata": {"name": "jupyter-ann"},
        "spec": {
            "serviceAccountName": "placement-user", "restartPolicy": "Never",
            "securityContext": {"fsGroup": 100},
            "volumes": [
                {"name": "home", "hostPath": {"path": home}},
                {"name": "other", "emptyDir": {}},
            ],
            "containers": [{
                "name": "notebook", "image": "example.org/lab:7", "command": ["python", "-c", code],
                "env": [{"name": k, "value": v} for k, v in env.items()],
                "volumeMounts": [{"name": "home", "mountPath": home}, {"name": "other", "mountPath": "/scratch-of-ann"}],
            }],
        },
    }  # fmt: skip
    user.kubernetes.make(space, server)
    try:

        def ended() -> bool:
            phase = user.kubernetes.admin.get(f"{space}/jupyter-ann").json()["status"].get("phase")
            return phase in ("Succeeded", "Failed")

        until(ended, "the server did not end")
        said = user.node.logs(user.kubernetes.namespace, "jupyter-ann")
        assert "RESULT 42" in said, said
        spec = user.pod()["spec"]
        container = spec["containers"][0]
        assert container["image"] == "example.org/lab:7"
        assert container["command"][0] == sys.executable
        assert {m["name"] for m in container["volumeMounts"]} == {"home", "offload-door"}
        assert spec["securityContext"]["fsGroup"] == 100
        assert spec["automountServiceAccountToken"] is False
        assert "a-secret-of-the-session" not in json.dumps(user.pod())
        # its pod is gone with the server's, and what it made is not
        user.kubernetes.admin.request("DELETE", f"{space}/jupyter-ann", json={"gracePeriodSeconds": 0})
        user.place()
        assert user.get("from-pod").phase == "running"
    finally:
        user.kubernetes.admin.request("DELETE", f"{space}/jupyter-ann", json={"gracePeriodSeconds": 0})


def test_a_pod_that_was_thrown_away_half_way_is_no_obstacle(user: User) -> None:
    """A doorway that died between Secret and pod leaves a Secret; the next one makes both."""
    user.kubernetes.make(
        f"/api/v1/namespaces/{user.kubernetes.namespace}/secrets", {"metadata": {"name": user.name}, "data": {}}
    )
    assert user.client.call("listClusters", ClusterList).clusters == []
    with pytest.raises(NotFound):
        user.get("nothing")
