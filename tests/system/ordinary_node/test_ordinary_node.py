"""The stand-in for a node runs pods as a kubelet would, as far as the tests of this project look."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.stack.kubernetes.client import Cluster
from tests.stack.ordinary_node import OrdinaryNode

JSON = dict[str, Any]
_serial = itertools.count()
#: A server at one port everywhere, that answers with its own address.
_SERVER = """
import http.server, socket
class Here(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.connection.getsockname()[0].encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
http.server.HTTPServer(("0.0.0.0", 18080), Here).serve_forever()
"""


@pytest.fixture
def run(kubernetes: Cluster, ordinary_node: OrdinaryNode) -> Iterator[Callable[..., str]]:
    """Make a pod with one container and return its name; what is left at the end is deleted."""
    names = []
    path = f"/api/v1/namespaces/{kubernetes.namespace}/pods"

    def make(*command: str, spec: JSON | None = None, labels: JSON | None = None, **container: Any) -> str:
        name = f"pod-{next(_serial)}"
        main = {"name": "main", "image": "any", "command": list(command), **container}
        pod = {
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {
                "containers": [main],
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 5,
                **(spec or {}),
            },
        }
        kubernetes.make(path, pod)
        names.append(name)
        return name

    yield make
    for name in names:
        kubernetes.admin.delete(f"{path}/{name}")
    ordinary_node.until(lambda: not ordinary_node.pods())


@pytest.fixture
def pod(kubernetes: Cluster) -> Callable[[str], JSON]:
    def get(name: str) -> JSON:
        answer = kubernetes.admin.get(f"/api/v1/namespaces/{kubernetes.namespace}/pods/{name}")
        found: JSON = answer.json()
        return found if answer.status_code == 200 else {}

    return get


def container(pod: JSON) -> JSON:
    found: JSON = (pod.get("status", {}).get("containerStatuses") or [{}])[0]
    return found


def state(pod: JSON) -> JSON:
    found: JSON = container(pod).get("state", {})
    return found


def phase(pod: JSON) -> str:
    return str(pod.get("status", {}).get("phase"))


def test_a_pod_runs_to_its_end(
    run: Callable[..., str], pod: Callable[[str], JSON], kubernetes: Cluster, ordinary_node: OrdinaryNode
) -> None:
    name = run("sh", "-c", "echo words of $WHO at $(hostname); exit 3", env=[{"name": "WHO", "value": "somebody"}])
    ordinary_node.until(lambda: phase(pod(name)) == "Failed")
    over = state(pod(name))["terminated"]
    assert (over["exitCode"], over["reason"]) == (3, "Error")
    assert ordinary_node.logs(kubernetes.namespace, name) == f"words of somebody at {name}\n"
    good = run("true")
    ordinary_node.until(lambda: phase(pod(good)) == "Succeeded")


def test_it_sets_every_condition(
    run: Callable[..., str], pod: Callable[[str], JSON], ordinary_node: OrdinaryNode
) -> None:
    name = run("sleep", "1000")

    def true() -> set[str]:
        conditions = pod(name).get("status", {}).get("conditions", [])
        return {each["type"] for each in conditions if each["status"] == "True"}

    ordinary_node.until(lambda: {"PodScheduled", "Initialized", "ContainersReady", "Ready"} <= true())


def test_variables_come_from_the_pod_and_from_secrets(
    run: Callable[..., str], pod: Callable[[str], JSON], kubernetes: Cluster, ordinary_node: OrdinaryNode
) -> None:
    kubernetes.make(
        f"/api/v1/namespaces/{kubernetes.namespace}/secrets",
        {"metadata": {"name": "se"}, "stringData": {"word": "hush"}},
    )
    env = [
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "COLOUR", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['colour']"}}},
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "se", "key": "word"}}},
        {"name": "PUT", "value": "in-$(NAME)-$(NOWHERE)"},
    ]
    name = run(
        "sh", "-c", "echo $NAME $IP $COLOUR $WORD $PUT $1", "sh", "$(COLOUR)", env=env, labels={"colour": "green"}
    )
    ordinary_node.until(lambda: phase(pod(name)) == "Succeeded")
    address = pod(name)["status"]["podIP"]
    said = ordinary_node.logs(kubernetes.namespace, name)
    assert said == f"{name} {address} green hush in-{name}-$(NOWHERE) green\n"


def test_files_lie_where_the_pod_says(
    run: Callable[..., str], pod: Callable[[str], JSON], kubernetes: Cluster, ordinary_node: OrdinaryNode
) -> None:
    """At paths that this machine does not have, below ones that it has; a missing secret is waited for."""
    volumes = [
        {"name": "keys", "secret": {"secretName": "late"}},
        {"name": "room", "emptyDir": {}},
    ]
    mounts = [
        {"name": "keys", "mountPath": "/run/offload-of-a-test", "readOnly": True},
        {"name": "room", "mountPath": "/nowhere/else"},
    ]
    script = "cat /run/offload-of-a-test/key && echo more > /nowhere/else/x && cat /nowhere/else/x; ls /run | wc -l"
    name = run("sh", "-c", script, spec={"volumes": volumes}, volumeMounts=mounts)
    events = f"/api/v1/namespaces/{kubernetes.namespace}/events"

    def told() -> list[str]:
        found = kubernetes.admin.get(events, params={"fieldSelector": f"involvedObject.name={name}"}).json()["items"]
        return [each["message"] for each in found if each["reason"] == "FailedMount"]

    ordinary_node.until(told)
    assert 'secret "late" not found' in told()[0]
    kubernetes.make(
        f"/api/v1/namespaces/{kubernetes.namespace}/secrets",
        {"metadata": {"name": "late"}, "stringData": {"key": "contents\n"}},
    )
    ordinary_node.until(lambda: phase(pod(name)) in ("Succeeded", "Failed"))
    lines = ordinary_node.logs(kubernetes.namespace, name).splitlines()
    assert lines[:2] == ["contents", "more"]
    assert int(lines[2]) >= 1
    assert subprocess.run(["ls", "/run/offload-of-a-test"], capture_output=True).returncode != 0


def test_two_pods_listen_at_one_port_and_a_service_has_a_name(
    run: Callable[..., str], pod: Callable[[str], JSON], kubernetes: Cluster, ordinary_node: OrdinaryNode
) -> None:
    servers = [run("python", "-c", _SERVER, labels={"app": f"server-{number}"}) for number in range(2)]
    for number in range(2):
        service = {
            "metadata": {"name": f"server-{number}"},
            "spec": {"selector": {"app": f"server-{number}"}, "ports": [{"port": 18080}]},
        }
        kubernetes.make(f"/api/v1/namespaces/{kubernetes.namespace}/services", service)
    asks = "import sys,urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode())"
    space = kubernetes.namespace
    urls = (
        [f"http://server-{each}:18080", f"http://server-{each}.{space}.svc.cluster.local:18080"] if (each := 1) else []
    )
    script = f"until python -c '{asks}' {urls[0]} 2>/dev/null; do sleep 0.2; done; python -c '{asks}' {urls[1]}"
    name = run("sh", "-c", script)
    ordinary_node.until(lambda: phase(pod(name)) == "Succeeded")
    addresses = [pod(each)["status"]["podIP"] for each in servers]
    assert addresses[0] != addresses[1]
    assert ordinary_node.logs(kubernetes.namespace, name).split() == [addresses[1]] * 2


def test_the_account_of_a_pod_is_the_one_in_it(
    run: Callable[..., str], pod: Callable[[str], JSON], kubernetes: Cluster, ordinary_node: OrdinaryNode
) -> None:
    kubernetes.make_account("inside")
    kubernetes.allow("inside", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}])
    script = """
import asyncio, pathlib, kr8s.asyncio
async def main():
    space = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text()
    api = await kr8s.asyncio.api()
    print(space, [each.name async for each in api.get("pods", namespace=space)])
asyncio.run(main())
"""
    name = run("python", "-c", script, spec={"serviceAccountName": "inside"})
    ordinary_node.until(lambda: phase(pod(name)) in ("Succeeded", "Failed"))
    said = ordinary_node.logs(kubernetes.namespace, name)
    assert f"{kubernetes.namespace} ['{name}" in said, said


def test_an_image_of_nobody_cannot_be_pulled(
    run: Callable[..., str], pod: Callable[[str], JSON], ordinary_node: OrdinaryNode
) -> None:
    name = run("true", image="registry.invalid/none:1")
    ordinary_node.until(lambda: state(pod(name)).get("waiting", {}).get("reason") == "ImagePullBackOff")


def test_what_ends_is_started_again_where_the_pod_wants_it(
    run: Callable[..., str], pod: Callable[[str], JSON], ordinary_node: OrdinaryNode
) -> None:
    name = run("false", spec={"restartPolicy": "Always"})
    ordinary_node.until(lambda: container(pod(name)).get("restartCount", 0) >= 2)
    ordinary_node.until(lambda: state(pod(name)).get("waiting", {}).get("reason") == "CrashLoopBackOff")
    assert container(pod(name))["lastState"]["terminated"]["exitCode"] == 1


def test_a_probe_decides_whether_it_is_ready(
    run: Callable[..., str], pod: Callable[[str], JSON], ordinary_node: OrdinaryNode
) -> None:
    probe = {"exec": {"command": ["test", "-e", "/nowhere/ready"]}, "periodSeconds": 1}
    name = run(
        "sh", "-c", "until [ -e /nowhere/go ]; do sleep 0.2; done; touch /nowhere/ready; sleep 1000",
        spec={"volumes": [{"name": "room", "emptyDir": {}}]},
        volumeMounts=[{"name": "room", "mountPath": "/nowhere"}],
        readinessProbe=probe,
    )  # fmt: skip

    def ready() -> bool:
        return bool(container(pod(name))["ready"])

    ordinary_node.until(lambda: "running" in state(pod(name)))
    assert not ready()
    [room] = ordinary_node.folder.glob(f"pods/{pod(name)['metadata']['uid']}/volumes/room")
    (room / "go").touch()
    ordinary_node.until(ready)


def _living(word: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if word in (process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def test_a_deleted_pod_takes_all_its_processes_with_it(
    run: Callable[..., str], pod: Callable[[str], JSON], kubernetes: Cluster, ordinary_node: OrdinaryNode
) -> None:
    """In grace, and also those that left its session and lost their parent."""
    script = (
        "trap 'echo asked to end; exit 0' TERM; setsid sh -c 'sleep 98765 &'; echo up; while true; do sleep 0.1; done"
    )
    name = run("sh", "-c", script)
    ordinary_node.until(lambda: ordinary_node.logs(kubernetes.namespace, name) == "up\n")
    assert _living("98765")
    log = next(ordinary_node.folder.glob(f"pods/{pod(name)['metadata']['uid']}/containers/main/log"))
    written = log.open()
    kubernetes.admin.delete(f"/api/v1/namespaces/{kubernetes.namespace}/pods/{name}").raise_for_status()
    ordinary_node.until(lambda: not pod(name))
    assert written.read() == "up\nasked to end\n"
    assert not _living("98765")


def test_a_node_that_loses_its_power_takes_its_processes_with_it(
    run: Callable[..., str], pod: Callable[[str], JSON], ordinary_node: OrdinaryNode
) -> None:
    name = run("sleep", "87654")
    ordinary_node.until(lambda: "running" in state(pod(name)))
    ordinary_node.until(lambda: _living("87654"))
    ordinary_node.kill()
    ordinary_node.until(lambda: not _living("87654"))
    assert phase(pod(name)) == "Running"  # nobody is there to say otherwise
    ordinary_node.start()
    assert json.dumps(pod(name))  # and what was there is run anew, as its object wants it
