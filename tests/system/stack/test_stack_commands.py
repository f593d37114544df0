"""``python -m tests.stack``: up as often as one likes, down without a trace, and words when something is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.stack.golang import USUAL_PLACE, CannotBuild, GoModule, go_command
from tests.stack.kubernetes.client import connect
from tests.stack.kubernetes.programs import MODULE, built
from tests.stack.processes import DidNotStart, Processes

ROOT = Path(__file__).parents[3]


def stack(action: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.stack", action, "kubernetes", "--folder", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=150, check=False,
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
    """Return the living processes whose working directory is the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE  # whether it was reaped is not ours
    except psutil.NoSuchProcess:
        return False


def test_up_twice_is_up_once_and_down_leaves_nothing(folder: Path) -> None:
    first = up(folder)
    assert first["env"] == {"KUBECONFIG": first["kubeconfig"]}
    processes = of(folder)
    assert {p.name() for p in processes} == {"etcd", "kube-apiserver"}
    assert up(folder) == first
    assert sorted(p.pid for p in of(folder)) == sorted(p.pid for p in processes)
    listening = [c.laddr for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert [f"https://{at.ip}:{at.port}" for at in listening] == [first["url"]]

    stack("down", folder)
    assert not any(lives(p) for p in processes)
    assert not folder.exists()
    stack("down", folder)


def test_up_mends_what_half_runs(folder: Path) -> None:
    up(folder)
    victim = next(p for p in of(folder) if p.name() == "kube-apiserver")
    victim.kill()
    psutil.wait_procs([victim], timeout=10)
    answer = up(folder)
    with connect(folder) as admin:
        assert admin.get(f"/api/v1/namespaces/{answer['namespace']}").status_code == 200
    assert sorted(p.name() for p in of(folder)) == ["etcd", "kube-apiserver"]


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
