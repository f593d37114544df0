"""The keeper's own life: started once, handed over, ended; damaged and newer stores; what others left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from jupyter_offload import __version__
from jupyter_offload.api import locations
from jupyter_offload.api.client import KeeperClient
from jupyter_offload.api.models import Findings, KeeperHealth
from jupyter_offload.api.problems import Broken, ProblemCode
from jupyter_offload.api.start import ensure_keeper
from jupyter_offload.keeper import folders

from .conftest import PATIENCE_S, Desk, until

ASK = "from jupyter_offload.api.client import KeeperClient as K; from jupyter_offload.api.models import KeeperHealth as H;" \
      " print(K().call('health', H).pid)"  # fmt: skip
OLDER = "import jupyter_offload, sys; jupyter_offload.__version__ = '0.0.1';" \
        " from jupyter_offload.keeper.__main__ import main; sys.exit(main([]))"  # fmt: skip


def test_many_starters_meet_one_keeper(desk: Desk) -> None:
    doors = [subprocess.Popen([sys.executable, "-c", ASK], stdout=subprocess.PIPE, text=True) for _ in range(5)]
    pids = {door.communicate(timeout=120)[0].strip() for door in doors}
    assert len(pids) == 1 and pids != {""}
    until(lambda: len([p for p in desk.processes() if "jupyter_offload.keeper" in " ".join(p.cmdline())]) == 1,
          wrong="a keeper that lost the race stays")  # fmt: skip


def test_the_keeper_is_nobodys_child(desk: Desk) -> None:
    keeper = desk.keeper
    assert keeper.ppid() != os.getpid() and os.getsid(keeper.pid) != os.getsid(0)
    assert keeper.cwd() == "/"


def test_a_dead_socket_file_is_replaced(desk: Desk) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(locations.socket_path()))
    dead.close()
    assert desk.keeper.pid


def test_secrets_of_the_session_stay_out(desk_with) -> None:
    desk = desk_with(JUPYTERHUB_API_TOKEN="hub-secret", JUPYTER_TOKEN="lab-secret")
    cluster = desk.new("clean", 1)
    with desk.dask("clean") as dask:
        seen = dask.submit(lambda: dict(os.environ)).result(60)
    assert not [k for k in seen if k.startswith("JUPYTERHUB_")] and "JUPYTER_TOKEN" not in seen
    for process in [desk.keeper, psutil.Process(desk.ready(cluster)["scheduler"]["pid"])]:
        assert not {"JUPYTERHUB_API_TOKEN", "JUPYTER_TOKEN"} & set(process.environ())


def test_it_ends_itself_when_there_is_nothing_to_do(desk_with) -> None:
    desk = desk_with(JUPYTER_OFFLOAD_KEEPER_IDLE_S="1.5")
    keeper = desk.keeper
    desk.new("worked", 0)
    psutil.wait_procs([keeper], timeout=4)
    assert keeper.is_running(), "a cluster keeps it"
    desk.stop("worked")
    until(lambda: not keeper.is_running())
    until(lambda: not desk.processes(), wrong="its zygote stays")
    assert not locations.socket_path().exists()
    assert desk.get("worked").phase.value == "stopped", "the next one remembers"


def test_who_only_watches_does_not_keep_it_and_who_asks_does(desk_with) -> None:
    """A browser tab left open follows the changes for days; the keeper ends all the same, and starts when it is needed."""
    desk = desk_with(JUPYTER_OFFLOAD_KEEPER_IDLE_S="3")
    keeper = desk.keeper
    began = time.monotonic()
    # straight over the socket: a client of ours would start the next one
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(locations.socket_path())), timeout=60) as http:
        while time.monotonic() - began < 7:  # more than twice the time after which it ends
            assert http.get("http://k/clusters").status_code == 200, "it ended although it was asked"
            time.sleep(0.1)
        assert keeper.is_running()
        revision = http.get("http://k/changes").json()["revision"]
        try:
            for _ in range(PATIENCE_S * 10):
                http.get("http://k/changes", params={"since": revision, "timeout_s": 0.1})
                http.get("http://k/health")
        except httpx.TransportError:
            pass
    until(lambda: not keeper.is_running(), wrong="watching keeps it")


def test_an_older_keeper_hands_over_and_clusters_stay(desk: Desk) -> None:
    old = subprocess.Popen([sys.executable, "-c", OLDER], stderr=subprocess.DEVNULL)
    try:
        until(lambda: locations.socket_path().exists())
        # as its own release would have: straight over the socket, without a look at the version
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(locations.socket_path())), timeout=60) as http:
            assert http.get("http://k/health").json()["version"] == "0.0.1"
            made = http.post("http://k/clusters", json={"spec": {"name": "kept", "workers": 1}}).json()
            until(lambda: http.get("http://k/clusters/kept").json()["workers"]["connected"] == 1)
        before = folders.read_json(Path(folders.places(made["id"]).runtime) / "ready.json")
        assert desk.client.call("health", KeeperHealth).version == __version__
        assert old.wait(30) == 0
    finally:
        old.kill()
    kept = desk.get("kept")
    assert kept.connectable and kept.workers.connected == 1
    assert desk.ready(kept) == before
    assert desk.codes("kept")[0] == "accepted"
    with desk.dask("kept") as dask:
        assert dask.submit(lambda: 5).result(60) == 5


def test_a_newer_keeper_is_used_as_it_is(desk: Desk, monkeypatch) -> None:
    pid = desk.keeper.pid
    monkeypatch.setattr("jupyter_offload.api.start.__version__", "0.0.1")
    ensure_keeper()
    assert desk.keeper.pid == pid


def test_terminate_leaves_clusters_interrupting_nothing(desk: Desk) -> None:
    cluster = desk.new("left", 1)
    before = desk.ready(cluster)
    keeper = desk.keeper
    keeper.send_signal(signal.SIGTERM)
    until(lambda: not keeper.is_running())
    again = desk.get("left")
    assert again.phase.value == "running" and desk.ready(again) == before


def test_under_a_hub_that_ends_everything(desk_with) -> None:
    """The card says so beforehand; the keeper's end is the clusters' end, and the next one tells it."""
    desk = desk_with(JUPYTER_OFFLOAD_ENDS_WITH_SERVER="1")
    assert desk.new("short", 1).ends_with_server
    keeper = desk.keeper
    keeper.send_signal(signal.SIGTERM)
    until(lambda: not keeper.is_running())
    until(lambda: not desk.processes())
    assert desk.get("short").reason.code.value == "server-ended"


def test_under_a_hub_that_kills_everything(desk_with) -> None:
    desk = desk_with(JUPYTER_OFFLOAD_ENDS_WITH_SERVER="1")
    desk.new("shorter", 1)
    for process in desk.processes():
        process.kill()
    until(lambda: not [p for p in desk.processes() if p.status() != psutil.STATUS_ZOMBIE])
    over = desk.phase("shorter", "stopped")
    assert over.reason.code.value == "server-ended"


class TestStore:
    def path(self) -> Path:
        return locations.data_folder() / "records.sqlite"

    def test_a_damaged_one_is_put_aside_and_clusters_are_taken_up(self, desk: Desk) -> None:
        cluster = desk.new("survivor", 1)
        before = desk.ready(cluster)
        desk.kill_keeper()
        self.path().write_bytes(b"garbage" * 1000)
        again = desk.when("survivor", lambda c: c.workers.connected == 1)
        assert again.id == cluster.id and desk.ready(again) == before
        aside = list(self.path().parent.glob("records.sqlite.corrupt-*"))
        assert len(aside) == 1 and aside[0].read_bytes().startswith(b"garbage")
        found = [f for f in desk.client.call("doctor", Findings).findings if f.check == "records"]
        assert any(str(aside[0]) in f.message for f in found)
        assert "record-restored" in desk.codes("survivor")

    def test_a_newer_one_is_refused_by_every_door_and_left_alone(self, desk: Desk) -> None:
        desk.new("past", 0)
        desk.stop("past")
        desk.kill_keeper()
        db = sqlite3.connect(self.path())
        db.execute("PRAGMA user_version = 99")
        db.close()
        before = self.path().read_bytes()
        for operation in ("listClusters", "listSites", "doctor"):
            with pytest.raises(Broken) as caught:
                desk.client.call(operation)
            assert caught.value.code is ProblemCode.store_newer and "--upgrade" in (caught.value.hint or "")
        assert desk.client.call("health", KeeperHealth).clusters_active == 0
        assert self.path().read_bytes() == before

    def test_without_it_what_runs_is_ended_and_told(self, desk: Desk) -> None:
        cluster = desk.new("orphan", 1)
        supervisor = psutil.Process(desk.ready(cluster)["supervisor"]["pid"])
        desk.kill_keeper()
        self.path().unlink()
        assert desk.all() == []
        until(lambda: not supervisor.is_running(), wrong="a cluster without a record runs on")
        told = until(lambda: [f for f in desk.client.call("doctor", Findings).findings if f.check == "leftovers"])
        assert str(supervisor.pid) in told[0].message
        until(lambda: not any(folders.runtimes_folder().iterdir()))

    def test_processes_of_others_are_left_alone(self, desk: Desk) -> None:
        """Two homes of one user on one host: each keeper sweeps its own only."""
        cluster = desk.new("mine", 1)
        other = desk.home / "other"
        code = ("import time; from jupyter_offload.api.client import KeeperClient as K;"
                "from jupyter_offload.api.models import *; k = K(); print(k.call('health', KeeperHealth).pid);"
                "k.call('doctor'); time.sleep(1)")  # fmt: skip
        env = {**os.environ, "JUPYTER_DATA_DIR": str(other), "JUPYTER_OFFLOAD_KEEPER_IDLE_S": "0.5"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, text=True, capture_output=True, timeout=120, check=True
        )
        theirs = psutil.Process(int(done.stdout)) if psutil.pid_exists(int(done.stdout)) else None
        assert desk.get("mine").connectable and desk.ready(cluster)
        until(lambda: theirs is None or not theirs.is_running())
        shutil.rmtree(other, ignore_errors=True)


def test_a_keeper_that_cannot_start_says_why(desk: Desk, monkeypatch) -> None:
    monkeypatch.setattr("jupyter_offload.api.start.START_TIMEOUT_S", 6.0)
    monkeypatch.setattr("jupyter_offload.api.start.sys.executable", "/bin/false")
    with pytest.raises(Exception, match="did not start"):
        KeeperClient().call("health", KeeperHealth)
