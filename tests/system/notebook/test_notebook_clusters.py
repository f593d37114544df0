"""The notebook API with real clusters, blocking."""

import os
import sys
import threading
import time

import pytest
from dask.distributed import Client

import jupyter_offload as offload


def test_client_of_a_new_cluster_just_works(home):
    cluster = offload.new_cluster(
        site="local",
        workers=2,
        name="zmumu",
        memory="1 GiB",
        lifetime="2 h",
        env={"ANSWER": "42"},
        modules=["colorsys"],
    )
    with Client(cluster) as client:
        assert client.submit(sum, [1, 2]).result(30) == 3
        assert client.submit(lambda: os.environ.get("ANSWER")).result(30) == "42"
        client.wait_for_workers(2, timeout=30)
        assert client.submit(lambda: sys.executable).result(30) == sys.executable
        assert client.submit(lambda: "colorsys" in sys.modules).result(30)
        assert "zmumu" in client._repr_html_()
    assert client.status == "closed"
    assert cluster.phase == "running", "closing a client must not stop its cluster"
    assert cluster.name == "zmumu" and len(cluster.id) >= 6
    assert cluster.record.profile.memory_bytes == 2**30
    assert cluster.record.spec.environment in ("python3", sys.executable)
    assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
    assert cluster.security.require_encryption
    assert cluster.dashboard_link.startswith("In JupyterLab")
    assert "zmumu" in cluster._repr_html_() and cluster.scheduler_address in cluster._repr_html_()
    assert offload.cluster(cluster.id).name == offload.cluster("zmumu").name == "zmumu"

    assert cluster.scale(3) is cluster
    cluster.wait_for_workers(3, timeout="60 s")
    assert cluster.record.workers.connected == 3
    assert cluster.adapt(minimum=1, maximum=2).record.spec.adaptive.maximum == 2
    assert cluster.scale(1).record.spec.adaptive is None

    before = cluster.record.spec.lifetime_s
    assert cluster.extend("1 h").record.spec.lifetime_s == before + 3600
    assert cluster.extend(lifetime="5 h", idle_timeout=0).record.spec.lifetime_s == 5 * 3600
    assert cluster.record.spec.idle_timeout_s == 0

    logs = cluster.logs()
    assert "scheduler" in logs and cluster.logs("scheduler") and len(cluster.logs("scheduler", tail=10)) <= 10
    assert any("connected" in entry.message for entry in cluster.timeline())

    cluster.close()
    assert cluster.phase == "stopped"
    assert cluster.close().phase == "stopped", "closing twice is closing once"
    assert "scheduler" in cluster.logs() and cluster.timeline(), "logs and timeline outlive the cluster"
    assert [p.name for p in home.named("worker")] == []


def test_with_closes_what_it_made_and_leaves_what_was_there(home):
    with offload.new_cluster(workers=1) as made:
        assert made.name == "cluster-1"
        with offload.cluster("cluster-1") as attached:
            client = attached.get_client()
            assert client.submit(abs, -1).result(30) == 1
            client.close()
        assert made.phase == "running"
    assert made.phase == "stopped"
    assert attached.reason.code == "stop-requested"


def test_names_are_found_when_none_is_given(home, monkeypatch):
    names = [offload.new_cluster(workers=0, wait=False).name for _ in range(2)]
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/Z peak.ipynb")
    names += [offload.new_cluster(workers=0, wait=False).name for _ in range(2)]
    assert names == ["cluster-1", "cluster-2", "Z-peak", "Z-peak-2"]


def test_a_client_waits_for_a_cluster_that_is_on_its_way_and_shutdown_ends_it(home):
    cluster = offload.new_cluster("early", workers=1, wait=False)
    client = Client(cluster)
    assert client.submit(sum, [1, 1]).result(60) == 2
    client.shutdown()
    assert cluster.phase == "stopped"


def test_a_client_ends_at_once_when_its_cluster_is_stopped_elsewhere(home):
    cluster = offload.new_cluster("elsewhere", workers=1)
    client = Client(cluster)
    assert home.offload("clusters", "stop", "elsewhere").returncode == 0
    deadline = time.monotonic() + 10
    while client.status != "closed" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.status == "closed", "it would reconnect for 30 s"


def test_many_threads_may_use_one_cluster(home):
    cluster = offload.new_cluster("threads", workers=1)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(cluster.phase)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == ["running"] * 8


def test_errors_say_what_is_wrong_and_what_to_do(home):
    with pytest.raises(offload.OffloadError, match=r"There are none; make one with offload\.new_cluster\(\)"):
        offload.cluster("nope")
    with pytest.raises(offload.OffloadError, match="no name of a cluster"):
        offload.cluster("")
    offload.new_cluster("one", workers=0, wait=False)
    with pytest.raises(offload.OffloadError, match="nope") as caught:
        offload.cluster("nope")
    assert "There are: one." in str(caught.value) and caught.value.code == "unknown-cluster"
    for arguments, field in (
        ({"memory": "banana"}, "memory"),
        ({"workers": 10**6}, "workers"),
        ({"workers": -1}, "workers"),
        ({"adaptive": 5}, "adaptive"),
        ({"adaptive": (5, 1)}, "adaptive"),
        ({"site": "nowhere"}, "site"),
        ({"profile": "huge"}, "profile"),
        ({"environment": "no-such-kernel"}, "environment"),
        ({"name": "one"}, "name"),
        ({"name": "a b"}, "name"),
        ({"timeout": "soon"}, "timeout"),
        ({"env": {"A B": "1"}}, "env"),
    ):
        with pytest.raises(offload.OffloadError) as caught:
            offload.new_cluster(**{"name": "two", "wait": False} | arguments)
        assert (caught.value.field, arguments) == (field, arguments)
        assert caught.value.hint, arguments
    assert offload.cluster("one")
    with pytest.raises(offload.OffloadError, match="two"):
        offload.cluster("two")


def test_an_ended_cluster_says_why(home):
    cluster = offload.new_cluster("gone", workers=1)
    cluster.close()
    again = offload.cluster("gone")
    assert again.phase == "stopped"
    for ask in (lambda: Client(again), lambda: again.scale(2), lambda: again.wait_for_workers(1), again.get_client):
        with pytest.raises(offload.OffloadError, match="gone") as caught:
            ask()
        assert again.reason.message.rstrip(".") in str(caught.value)
    assert home.offload("clusters", "forget", "gone").returncode == 0
    with pytest.raises(offload.OffloadError, match="no cluster"):
        again.scale(1)


def test_a_killed_scheduler_is_a_clear_error_and_not_a_hang(home):
    cluster = offload.new_cluster("killed", workers=1)
    client = Client(cluster)
    scheduler = next(
        p for p in home.processes() if any(c.laddr.port == _port(cluster) for c in p.net_connections("tcp"))
    )
    scheduler.kill()
    with pytest.raises(offload.OffloadError) as caught:
        cluster.wait_for_workers(99, timeout=30)
    assert caught.value.code == "finished", caught.value
    assert "failed" in caught.value.message
    before = time.monotonic()
    with pytest.raises(offload.OffloadError, match="killed"):
        Client(cluster)
    assert time.monotonic() - before < 20, "Dask's own connect timeout is 30 s"
    client.close()


def _port(cluster):
    return int(cluster.scheduler_address.rsplit(":", 1)[1])


def test_a_killed_keeper_is_started_again(home):
    cluster = offload.new_cluster("keeps", workers=1)
    client = Client(cluster)
    (keeper,) = home.named("jupyter_offload.keeper")
    keeper.kill()
    assert client.submit(sum, [2, 2]).result(30) == 4
    assert cluster.phase == "running"
    cluster.scale(2).wait_for_workers(2, timeout=60)
    client.close()
