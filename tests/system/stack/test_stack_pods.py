"""Pods on a virtual node: through a real scheduler and real interLink to a process of the site, and back."""

from __future__ import annotations

import base64
import json
import stat
import sys
from pathlib import Path

import psutil
import pytest
from small_pods import SmallPods

from tests.stack.interlink.node import VirtualNode, until
from tests.stack.interlink.runner import may_mount

ROOT = __file__.partition("/tests/")[0]


def test_a_pod_runs_to_its_end_and_says_what_it_wrote(pods: SmallPods) -> None:
    pod = pods.run("print('one'); print('two')")
    ended = pod.until("terminated")
    assert (ended["exitCode"], ended.get("message", "")) == (0, "")
    until(lambda: pod.phase == "Succeeded")
    assert pod.job_id == f"job-{pod.jobs()[0]['number']}"
    assert pod.log() == "one\ntwo\n"
    assert pod.log(tailLines=1) == "two\n"


def test_a_failure_has_its_exit_code_and_a_killed_job_its_reason(pods: SmallPods) -> None:
    failing = pods.run("import sys; sys.exit('no luck')")
    killed = pods.asleep()
    pods.node.end_job(killed.name)
    assert failing.until("terminated")["exitCode"] == 1
    assert failing.log() == "no luck\n"
    ended = killed.until("terminated")
    assert ended["exitCode"] == 137
    assert ended["message"] == f"job {killed.jobs()[0]['number']} was ended by SIGKILL at the site"


def test_a_log_can_be_followed(pods: SmallPods) -> None:
    script = "import time\nprint('first', flush=True)\ntime.sleep(2)\nprint('last', flush=True)"
    pod = pods.run(script)
    until(lambda: pod.jobs("running"))
    lines = pod.follow()
    assert next(lines) == "first"
    assert pod.jobs("running"), "the first line came while it ran"
    assert list(lines) == ["last"]


def test_a_deletion_reaches_the_process_and_whatever_it_started(pods: SmallPods) -> None:
    """Also what it put into a session of its own and left behind."""
    script = (
        "import subprocess, time\n"
        "subprocess.Popen(['sh', '-c', 'sleep 3600 & sleep 3600'], start_new_session=True)\n"
        "print('up', flush=True)\ntime.sleep(3600)"
    )
    pod = pods.run(script)
    until(lambda: len(pods.node.processes()) >= 4)
    processes = pods.node.processes()
    pod.delete()
    pod.until_gone()
    gone, alive = psutil.wait_procs(processes, timeout=20)
    assert not alive
    assert len(gone) >= 4


def test_its_secret_and_environment_are_what_the_pod_says(pods: SmallPods, monkeypatch: pytest.MonkeyPatch) -> None:
    node = pods.node
    secret = {"metadata": {"name": "small"}, "data": {"key": base64.b64encode(b"\x00secret\n").decode()}}
    pods.client.post(f"/api/v1/namespaces/{node.namespace}/secrets", json=secret).raise_for_status()
    script = (
        "import json, os\nfile = '/run/offload/key'\n"
        "print(json.dumps([open(file, 'rb').read().hex(), os.stat(file).st_mode, dict(os.environ)]), flush=True)\n"
        "import time; time.sleep(3600)"
    )
    pod = pods.run(
        script, volumes=[{"name": "v", "secret": {"secretName": "small"}}],
        mounts=[{"name": "v", "mountPath": "/run/offload"}], env=[{"name": "GIVEN", "value": "by the pod"}],
    )  # fmt: skip
    content, mode, env = json.loads(until(lambda: pod.log() if pod.jobs("running") else None))
    assert bytes.fromhex(content) == b"\x00secret\n"
    assert stat.S_IMODE(mode) == 0o600
    assert env.pop("GIVEN") == "by the pod"
    assert set(env) <= {"HOME", "LANG", "PATH", "PWD", "LC_CTYPE"}, "nothing of ours is inherited"
    kept = node.folder_of(pod.name) / "volumes"
    assert kept.exists()
    pod.delete()
    pod.until_gone()
    assert not kept.exists()
    pods.client.delete(f"/api/v1/namespaces/{node.namespace}/secrets/small").raise_for_status()


@pytest.mark.skipif(not may_mount(), reason="this user may have no mounts of his own")
def test_an_image_has_nothing_else_of_this_machine(pods: SmallPods) -> None:
    look = (
        "import importlib.util as u, os, distributed\n"
        f"print(os.path.exists({ROOT!r}), u.find_spec('jupyter_offload'), os.listdir('/tmp'), os.getcwd())"
    )
    good, whole = pods.run(look), pods.run(look, image="open")
    bare = pods.run("import distributed", image="bare")
    good.until("terminated")
    # The environment itself may lie there, as where a cache is kept in /tmp.
    own = [
        part
        for prefix in {sys.prefix, sys.base_prefix}
        for part in Path(prefix).parts[2:3]
        if prefix.startswith("/tmp/")
    ]
    assert good.log() == f"False None {sorted(set(own))} /tmp\n"
    assert whole.until("terminated")["exitCode"] == 0
    assert whole.log().startswith("True ModuleSpec")
    assert bare.until("terminated")["exitCode"] == 1
    assert "No module named 'distributed'" in bare.log()


def test_an_old_image_has_an_old_dask(pods: SmallPods, old_image: str) -> None:
    pod = pods.run("import distributed; print(distributed.__version__)", image=old_image)
    pod.until("terminated")
    assert pod.log() == "2024.12.1\n"


def test_an_image_that_nobody_has_is_waited_for(pods: SmallPods) -> None:
    pod = pods.run(image="example.org/nothing:1")
    waiting = pod.until("waiting")
    assert waiting["reason"] in ("ErrImagePull", "ImagePullBackOff")
    until(lambda: pod.state["waiting"]["reason"] == "ImagePullBackOff")
    assert "example.org/nothing:1" in pod.state["waiting"]["message"]
    assert pod.jobs("queued")


def test_free_numbers_follow_what_runs(pods: SmallPods, virtual_node: VirtualNode) -> None:
    """By the annotation that the virtual kubelet keeps of the site's answer to its ping."""

    def free() -> dict[str, int]:
        annotation = virtual_node.object()["metadata"]["annotations"]["interlink.virtual-kubelet.io/ping-response"]
        return dict(json.loads(annotation)["site"]["free"]["gpu"])

    assert virtual_node.object()["status"]["allocatable"]["nvidia.com/mig-1g.10gb"] == "4"
    until(lambda: free()["A100"] == 2, timeout_s=90)
    pods.asleep(gpus=2)
    until(lambda: free()["A100"] == 0, timeout_s=90)
    assert free()["nvidia.com/mig-1g.10gb"] == 4


def test_what_does_not_fit_the_node_is_not_scheduled(pods: SmallPods) -> None:
    pod = pods.run(gpus=3)
    found = until(lambda: [c for c in pod.object()["status"].get("conditions", []) if c.get("message")])
    assert "Insufficient nvidia.com/gpu" in found[0]["message"]
    assert pod.jobs() == []
