"""``python -m tests.stack``: up as often as one likes, down without a trace, and words when something is wrong."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from jupyter_offload.backends.kubernetes.options import read_options
from jupyter_offload.keeper.site_files import read_site_file
from tests.stack.golang import USUAL_PLACE, CannotBuild, GoModule, go_command
from tests.stack.interlink.node import until
from tests.stack.interlink.site import Site
from tests.stack.kubernetes.access import connect
from tests.stack.kubernetes.programs import MODULE
from tests.stack.processes import DidNotStart, Processes
from tests.stack.whole import built

ROOT = Path(__file__).parents[3]


def stack(action: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.stack", action, "kubernetes", "--folder", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def up(folder: Path) -> dict[str, Any]:
    return dict(json.loads(stack("up", folder).splitlines()[-1]))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    assert built(), "run: python -m tests.stack build kubernetes"
    folder = tmp_path / "a state"
    yield folder
    stack("down", folder)


def of(folder: Path) -> list[psutil.Process]:
    """Return the living processes whose working directory is below the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE  # whether it was reaped is not ours
    except psutil.NoSuchProcess:
        return False


PARTS = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "interlink", "virtual-kubelet"]


def names(folder: Path) -> list[str]:
    """Return the names of the programs that run in a folder, without the site's plugin."""
    return sorted(p.name() for p in of(folder) if not p.name().startswith("python"))


def test_up_is_all_that_a_client_needs_again_the_same_and_down_leaves_nothing(folder: Path) -> None:
    first = up(folder)
    processes = of(folder)
    assert names(folder) == sorted(PARTS)
    assert up(folder) == first
    assert sorted(p.pid for p in of(folder)) == sorted(p.pid for p in processes)
    listening = [c.laddr for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert {at.ip for at in listening} == {"127.0.0.1"}

    job = a_user_runs_a_pod(first)
    assert lives(job)
    assert_sites_can_be_used(first)
    stack("down", folder)
    assert not any(lives(p) for p in [*processes, job])
    assert not folder.exists()
    stack("down", folder)


def a_user_runs_a_pod(answer: dict[str, Any]) -> psutil.Process:
    """Run a pod with what ``up`` said and nothing else; return its process."""
    config = json.loads(Path(answer["env"]["KUBECONFIG"]).read_text())
    headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    context = ssl.create_default_context(cafile=answer["ca_file"])
    container = {"name": "main", "image": "good", "command": ["python3", "-c", "import time; time.sleep(3600)"]}
    pod = {"metadata": {"name": "job"}, "spec": {
        "nodeSelector": {"kubernetes.io/hostname": answer["virtual_site"]}, "tolerations": [{"operator": "Exists"}],
        "automountServiceAccountToken": False, "restartPolicy": "Never", "containers": [container],
    }}  # fmt: skip
    with httpx.Client(base_url=answer["url"], verify=context, headers=headers, trust_env=False) as user:
        user.post(f"/api/v1/namespaces/{answer['namespace']}/pods", json=pod).raise_for_status()
        assert user.get("/api/v1/namespaces/elsewhere/pods").status_code == 403
        assert user.get("/api/v1/nodes").status_code == 200
    site = Site(Path(answer["admin_kubeconfig"]).parents[1] / answer["virtual_site"])
    try:
        pid = until(lambda: [j["pid"] for j in site.jobs() if j["pid"]])[0]
    except AssertionError:
        for log in sorted(site.folder.glob("*.log")):
            print(f"--- {log}\n{log.read_text()[-4000:]}")
        print(site.jobs(), site.requests())
        raise
    return psutil.Process(pid)


def assert_sites_can_be_used(answer: dict[str, Any]) -> None:
    """``jupyter offload`` finds them by the variables alone, and what a file says is right."""
    found = {path.stem: read_site_file(path) for path in Path(answer["site_files"]).iterdir()}
    assert set(found) == {"virtual-nodes", answer["virtual_site"]}
    for site in found.values():
        assert site.problems == []
        assert site.definition is not None
        read_options(site.definition)
    assert Path(answer["site_files"]) == Path(answer["env"]["JUPYTER_CONFIG_PATH"]) / "offload" / "sites"


def test_up_mends_what_half_runs(folder: Path) -> None:
    up(folder)
    victims = [p for p in of(folder) if p.name() in ("kube-apiserver", "interlink")]
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)
    answer = up(folder)
    assert names(folder) == sorted(PARTS)
    with connect(folder / "control-plane") as admin:
        node = admin.get(f"/api/v1/nodes/{answer['virtual_site']}").json()
    assert [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"] == ["True"]


def test_what_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("loser", ["sh", "-c", "echo no such option; exit 3"])
    with pytest.raises(DidNotStart, match=r"loser ended(.|\n)*no such option"):
        processes.wait_until("loser", lambda: False, timeout_s=30)


def test_what_is_not_ready_in_time_shows_its_log_and_can_be_ended(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("sleeper", ["sh", "-c", "trap '' TERM; echo still loading; exec sleep 600"])
    try:
        with pytest.raises(DidNotStart, match=r"sleeper was not ready in 1 s(.|\n)*still loading"):
            processes.wait_until("sleeper", lambda: False, timeout_s=1)
        found = Processes(tmp_path).find("sleeper")
        assert found is not None
    finally:
        processes.stop(["sleeper"], timeout_s=0.5)
    assert not lives(found)


def test_a_process_that_merely_got_the_id_is_left_alone(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    (tmp_path / "other.pid").write_text(json.dumps({"pid": os.getppid(), "started": 0.0}))
    assert processes.find("other") is None
    processes.stop(["other"], timeout_s=5)
    assert psutil.pid_exists(os.getppid())


@pytest.fixture
def hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoModule:
    """A program of one line, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "go.mod").write_text("module example.org/hello\n\ngo 1.18\n")
    (folder / "go.sum").write_text("")
    (folder / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    return GoModule(folder, "hello", {"hello": "example.org/hello"}, {})


@pytest.mark.skipif(not (shutil.which("go") or USUAL_PLACE.exists()), reason="what is built needs no Go any more")
def test_a_program_is_built_once(hello: GoModule, tmp_path: Path) -> None:
    (hello.folder / "main.go").rename(tmp_path / "main.go")
    (hello.folder / "main.go").write_text("package main\n\nfunc main() { nonsense() }\n")
    with pytest.raises(CannotBuild, match="undefined: nonsense"):
        hello.build()
    assert not hello.is_built()

    (tmp_path / "main.go").replace(hello.folder / "main.go")
    assert hello.build() == hello.output
    done = subprocess.run([hello.program("hello")], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == "hello\n"
    assert {p.name for p in hello.output.parent.iterdir()} == {"hello.lock", hello.output.name}

    (hello.folder / "main.go").unlink()  # a second build would miss it
    hello.build()


def test_programs_are_built_again_when_their_module_changes(hello: GoModule) -> None:
    before = hello.output
    (hello.folder / "go.sum").write_text("something else\n")
    assert hello.output != before


def test_a_module_names_what_it_is_made_from() -> None:
    assert MODULE.version("go.etcd.io/etcd/server/v3").startswith("v3.")
    with pytest.raises(CannotBuild, match=r"does not require example\.org/unknown"):
        MODULE.version("example.org/unknown")


def test_without_go_one_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.stack.golang.USUAL_PLACE", tmp_path / "go")
    with pytest.raises(CannotBuild, match="apt install golang-go"):
        go_command(MODULE.folder)
