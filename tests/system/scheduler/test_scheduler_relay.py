"""A cluster with a relay: the scheduler's second door, and what is told of it."""

from __future__ import annotations

import datetime
import html.parser
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import yaml
from hub_thread import DOMAIN, HubThread
from process_tree import TIMEOUT_S, TreeOfOne, clean_environment, talk_http, until

from jupyter_offload.relay.certificates import issue_job_certificate, make_cluster_certificates

#: A worker that takes its name at the relay and then never dials back for anybody.
MUTE = """
import jupyter_offload.relay.comm.listener as listener
from distributed.cli.dask_worker import main

async def never(*_): pass
listener.RelayListener._accept = never
main()
"""


def closed_port() -> int:
    """Return a port of this host where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _listening(dask_scheduler: Any) -> list[str]:
    return [listener.listen_address for listener in dask_scheduler.listeners]


def test_a_relay_that_is_down_keeps_no_local_client_away(start_either: Callable[..., TreeOfOne]) -> None:
    address = f"127.0.0.1:{closed_port()}"
    tree = start_either(
        workers=1, relay={"addresses": [address], "domain": "relay.test", "ca_file": None, "resume_s": 30}
    )
    tree.connected(1)
    assert tree.ready()["scheduler_address"].startswith("tls://127.0.0.1:")
    with tree.client() as client:
        assert client.submit(sum, [1, 2]).result(60) == 3
        addresses = [tree.ready()["scheduler_address"], "relay://scheduler"]
        until(lambda: client.run_on_scheduler(_listening) == addresses)
    until(lambda: tree.events("relay-lost"))
    (event,) = tree.events("relay-lost")
    assert address in event["message"] and event["level"] == "warning"
    relay = tree.status()["relay"]
    assert relay["registered"] is False
    assert address in relay["problem"]


def test_without_a_relay_nothing_is_told_of_one(start: Callable[..., TreeOfOne]) -> None:
    assert start(workers=0).connected(0)["relay"] is None


# ---------------------------------------------------------------- with one
class Cluster:
    """A cluster whose workers come through a relay, and the files of one job."""

    def __init__(self, tree: TreeOfOne, folder: Path) -> None:
        self.tree = tree
        files = make_cluster_certificates(folder / "tls", "test-cluster")
        tree.tls.update(
            {f"{k}_file": str(getattr(files, f"{k}_file")) for k in ("ca", "scheduler", "worker", "client")}
        )
        self.hub = HubThread(folder / "relay", files.ca_file)
        tree.launch["relay"] = self.hub.launch
        self.job_folder = folder / "job"
        self.job_folder.mkdir()
        pem = self.job_folder / "worker.pem"
        pem.write_bytes(issue_job_certificate(files.ca_file.parent, "job1", datetime.timedelta(hours=1)))
        own = {"cert": str(pem), "key": str(pem)}
        tls = {"ca-file": str(files.ca_file), "worker": own, "client": own}
        relay = {"addresses": self.hub.launch["addresses"], "domain": DOMAIN, "ca-file": str(self.hub.ca_file)}
        config = {"relay": relay, "distributed": {"comm": {"require-encryption": True, "tls": tls}}}
        (self.job_folder / "dask.yaml").write_text(yaml.safe_dump(config))
        self._workers: list[subprocess.Popen[bytes]] = []

    def worker(self, *start: str, arguments: tuple[str, ...] = ("--no-dashboard",)) -> None:
        command = [sys.executable, *(start or ("-m", "distributed.cli.dask_worker")), "relay://scheduler"]
        command += ["--protocol", "relay", "--host", "w-job1-", "--name", f"far{len(self._workers)}", "--no-nanny"]
        env = clean_environment(DASK_CONFIG=str(self.job_folder))
        log = (self.job_folder / f"{len(self._workers)}.log").open("wb")
        self._workers.append(
            subprocess.Popen([*command, *arguments], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                             cwd=self.job_folder)
        )  # fmt: skip

    def dispose(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait(TIMEOUT_S)
        self.hub.stop()


@pytest.fixture
def far(make_tree: Callable[..., TreeOfOne], zygote: Any, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(make_tree(workers=0), tmp_path)
    cluster.tree.start_warm(zygote)
    yield cluster
    cluster.dispose()


def test_workers_that_dial_out_compute_for_a_client_on_loopback(far: Cluster) -> None:
    far.worker()
    status = far.tree.connected(1)
    assert status["workers"][0]["name"] == "far0"
    assert status["workers"][0]["address"].startswith("relay://w-job1-")
    assert status["scheduler_address"].startswith("tls://127.0.0.1:")
    assert status["relay"]["registered"] is True and status["relay"]["problem"] is None
    with far.tree.client() as client:
        assert client.submit(sum, [1, 2]).result(60) == 3
        assert client.run_on_scheduler(_backend) == "_jupyter_offload_relay.comm.backend", "whatever is installed"
        assert client.run_on_scheduler(_retries) == 2, "a transfer that breaks with the relay is tried again"
    assert far.tree.events("relay-lost") == []


def test_what_users_configured_of_dask_stays(far: Cluster, make_tree: Callable[..., TreeOfOne], zygote: Any) -> None:
    tree = make_tree(workers=0)
    tree.tls.update(far.tree.tls)
    tree.launch["relay"] = far.hub.launch
    tree.start_warm(zygote, env=clean_environment(DASK_DISTRIBUTED__COMM__RETRY__COUNT="0"))
    tree.ready()
    with tree.client() as client:
        assert client.run_on_scheduler(_retries) == 0


def test_a_relay_that_goes_and_comes_back_loses_no_worker(far: Cluster) -> None:
    far.worker()
    before = far.tree.connected(1)["workers"][0]
    with far.tree.client() as client:
        kept = client.submit(sum, [1, 2])
        assert kept.result(60) == 3
        far.hub.stop()
        until(lambda: far.tree.events("relay-lost"))
        status = far.tree.status()
        assert [w["name"] for w in status["workers"]] == ["far0"], "it is out of reach, not gone"
        assert status["relay"]["registered"] is False and status["relay"]["problem"]
        waiting = client.submit(sum, [kept, 4])
        far.hub.start()
        until(lambda: far.tree.events("relay-back"))
        assert waiting.result(60) == 7
        after = far.tree.connected(1)["workers"][0]
    assert (after["address"], after["pid"]) == (before["address"], before["pid"])
    assert [len(far.tree.events(code)) for code in ("relay-lost", "relay-back", "worker-lost")] == [1, 1, 0]


def test_a_worker_that_never_dials_back_gets_no_task_and_is_closed(far: Cluster) -> None:
    far.tree.ready()
    with far.tree.client() as client:
        waiting = client.submit(sum, [1, 2])
        far.worker("-c", MUTE)
        until(lambda: far.tree.events("worker-unreachable"))
        (event,) = far.tree.events("worker-unreachable")
        assert event["worker"] == "far0" and "relay://w-job1-" in event["message"]
        until(lambda: far.tree.status()["workers"] == [])
        assert far.tree.events("worker-connected") == far.tree.events("worker-lost") == []
        assert waiting.status == "pending"
        far.worker()
        assert waiting.result(60) == 3


# ---------------------------------------------------------------- dashboard
class Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {value for name, value in attrs if tag == "a" and name == "href" and value}


def test_no_link_of_the_dashboard_is_dead(far: Cluster) -> None:
    """Dask makes pages and links out of addresses of workers; one that serves a dashboard of its own is among them."""
    far.worker(arguments=("--dashboard-address", "127.0.0.1:0"))
    far.worker()
    far.tree.connected(2)
    socket_path = far.tree.runtime / "dashboard.sock"
    until(socket_path.exists)

    def get(path: str) -> str:
        return talk_http(socket_path, f"GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").decode()

    todo, seen = {"/info/main/workers.html"}, set[str]()
    while todo:
        path = todo.pop()
        seen.add(path)
        page = get(path)
        assert page.startswith(("HTTP/1.1 200", "HTTP/1.1 301", "HTTP/1.1 302")), (path, page[:200])
        links = Links()
        links.feed(page)
        for link in links.found:
            if not link.startswith(("http:", "https:", "mailto:", "javascript:")):
                target = urljoin(path, link)
                if target not in seen:
                    todo.add(target)
    assert [p for p in seen if "relay" in p], "workers have pages"


def _backend() -> str:
    from distributed.comm.registry import get_backend

    return type(get_backend("relay")).__module__


def _retries() -> int:
    import dask.config

    return int(dask.config.get("distributed.comm.retry.count"))
