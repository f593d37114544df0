"""The zygote itself: what it refuses, and when it ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from process_tree import ENTRY, TIMEOUT_S, TreeOfOne, Zygote, clean_environment

Make = Callable[..., TreeOfOne]


def test_answers_and_refuses(zygote: Zygote, tmp_path: Path) -> None:
    assert zygote.call(op="ping") == {"ok": True, "pid": zygote.process.pid, "protocol": 1}
    assert stat.S_IMODE(zygote.socket.stat().st_mode) == 0o600
    assert zygote.call(op="dance")["error"]["code"] == "unknown-op"
    assert zygote.call(nothing=1)["error"]["code"] == "bad-request"
    missing = zygote.call(op="launch", launch=str(tmp_path / "none.json"), env={}, cwd="/")
    assert missing["error"]["code"] == "bad-launch"
    assert "none.json" in missing["error"]["message"]
    (tmp_path / "half.json").write_text(json.dumps({"protocol": 1, "workers": -1}))
    wrong = zygote.call(op="launch", launch=str(tmp_path / "half.json"), env={}, cwd="/")
    assert "workers -1" in wrong["error"]["message"]


def test_one_silent_client_does_not_hold_the_others(zygote: Zygote) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(zygote.socket))
        silent.sendall(b'{"op": "pi')
        assert zygote.call(op="ping")["ok"]


def test_has_one_thread(zygote: Zygote) -> None:
    assert len(list(Path(f"/proc/{zygote.process.pid}/task").iterdir())) == 1
    loaded = Path(f"/proc/{zygote.process.pid}/maps").read_text()
    assert "pyarrow" not in loaded


def test_refuses_to_fork_with_a_second_thread(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    done = subprocess.run(
        [sys.executable, str(ENTRY), "zygote", str(tmp_path / "z")], env=clean_environment(PYTHONPATH=str(site)),
        capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 1
    assert "threads" in done.stderr


def test_exit_leaves_no_socket() -> None:
    one = Zygote()
    assert one.call(op="exit")["ok"]
    assert one.process.wait(TIMEOUT_S) == 0
    assert not one.socket.exists()
    one.dispose()


def test_ends_when_nobody_can_find_it() -> None:
    one = Zygote()
    one.socket.unlink()
    assert one.process.wait(TIMEOUT_S) == 0
    one.dispose()


def test_ends_when_idle() -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    code = (
        "import sys, importlib.util as u; from pathlib import Path;"
        f"s = u.spec_from_file_location('entry', {str(ENTRY)!r}); m = u.module_from_spec(s); s.loader.exec_module(m);"
        f"m.register(Path({str(ENTRY.parent)!r})); sys.exit(m._module('zygote').main({str(folder / 'z')!r}, idle_s=0.5))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=clean_environment(), timeout=TIMEOUT_S)
    assert done.returncode == 0
    assert list(folder.iterdir()) == []
    folder.rmdir()


def test_sigterm_leaves_no_socket() -> None:
    one = Zygote()
    one.process.terminate()
    one.process.wait(TIMEOUT_S)
    assert not one.socket.exists()
    one.dispose()


def test_clusters_outlive_it_and_still_scale(make_tree: Make) -> None:
    one = Zygote()
    tree = make_tree(workers=1).start_warm(one)
    tree.connected(1)
    os.kill(one.process.pid, signal.SIGKILL)
    one.dispose()
    assert tree.control.call("scale", workers=2)["target"] == 2
    tree.connected(2)
    with tree.client() as client:
        assert client.submit(sum, [1, 2]).result(30) == 3
    assert tree.stop()["code"] == "stopped"


def test_forked_cluster_is_no_child(zygote: Zygote, make_tree: Make) -> None:
    tree = make_tree(workers=0).start_warm(zygote)
    tree.ready()
    assert tree.supervisor is not None
    parent = Path(f"/proc/{tree.supervisor[0]}/stat").read_text().rpartition(")")[2].split()[1]
    assert int(parent) != zygote.process.pid
    assert tree.stop()["code"] == "stopped"
