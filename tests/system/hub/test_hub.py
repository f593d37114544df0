"""Under a real JupyterHub: clusters outlive a server that is killed, unless the Hub kills everything with it."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any

import psutil
import pytest
from distributed import Client, Security

from .conftest import OWN_WORLD, Hub, until

pytestmark = pytest.mark.timeout(600)


def has_own_worlds() -> bool:
    """Tell whether this user may make process namespaces."""
    try:
        return subprocess.run([*OWN_WORLD, "true"], check=False, timeout=20, capture_output=True).returncode == 0
    except OSError:
        return False


def identity(process: psutil.Process) -> tuple[int, float]:
    return process.pid, process.create_time()


def of_cluster(hub: Hub) -> list[psutil.Process]:
    """Return supervisor, scheduler and workers: all that is neither server nor keeper nor zygote."""
    return [p for p in hub.processes("jupyter_offload/scheduler") if "zygote" not in p.cmdline()]


def test_a_cluster_outlives_a_killed_server(hub: Hub) -> None:
    def slow_square(x: int) -> int:  # here, so that it travels by value
        time.sleep(5)
        return x * x

    assert hub.offload("GET", "/clusters", anonymous=True).status_code == 403
    answer = hub.offload("POST", "/clusters", {"spec": {"name": "zmumu", "workers": 1}})
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["Location"] == f"{hub.base_path}offload/v1/clusters/{made['id']}"
    running = hub.when("zmumu", phase="running", connectable=True)
    until(lambda: hub.when("zmumu")["workers"]["connected"] == 1)
    assert running["ends_with_server"] is False

    [server] = hub.processes("jupyterhub-singleuser")
    assert_no_secrets(hub, server)

    connection = hub.offload("GET", "/clusters/zmumu/connection").json()
    tls = connection["tls"]
    security = Security(
        tls_ca_file=tls["ca_file"],
        tls_client_cert=tls["cert_file"],
        tls_client_key=tls["key_file"],
        require_encryption=True,
    )
    before = {identity(p) for p in hub.processes() if p.pid != server.pid and "kernel" not in " ".join(p.cmdline())}
    with Client(connection["scheduler_address"], security=security) as client:
        future = client.submit(slow_square, 12, pure=False)
        server.send_signal(signal.SIGKILL)
        until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
        assert future.result(timeout=60) == 144
        assert before <= {identity(p) for p in hub.processes()}, "something else died with the server"

        hub.start_server()
        again = hub.when("zmumu", phase="running")
        assert (again["id"], again["created_at"]) == (made["id"], made["created_at"])
        assert before <= {identity(p) for p in hub.processes()}
        assert client.submit(slow_square, 3, pure=False).result(timeout=60) == 9

    assert hub.offload("DELETE", "/clusters/zmumu").status_code == 202
    hub.when("zmumu", phase="stopped")
    until(lambda: not (before & {identity(p) for p in hub.processes("supervise")}))


def assert_no_secrets(hub: Hub, server: psutil.Process) -> None:
    """No process of ours but the server itself knows the Hub's token, or any other thing of the Hub."""
    token = server.environ()["JUPYTERHUB_API_TOKEN"]
    others = [p for p in hub.processes() if p.pid != server.pid]
    assert any("jupyter_offload.keeper" in p.cmdline() for p in others)
    assert len(others) >= 3, "keeper, scheduler and worker should be there"
    for process in others:
        env = process.environ()
        assert token not in str(env), process.cmdline()
        assert not [name for name in env if name.startswith(("JUPYTERHUB_", "JPY_"))], process.cmdline()
        assert token not in " ".join(process.cmdline())


@pytest.mark.parametrize("hub", [OWN_WORLD], indirect=True)
@pytest.mark.skipif(not has_own_worlds(), reason="this user may not make process namespaces")
def test_where_the_hub_ends_everything_the_card_says_so_and_nothing_is_left(hub: Hub) -> None:
    hub.offload("POST", "/clusters", {"spec": {"name": "zmumu", "workers": 1}})
    running: dict[str, Any] = hub.when("zmumu", phase="running", connectable=True)
    assert running["ends_with_server"] is True
    assert len(hub.processes()) >= 4

    hub.stop_server()
    until(lambda: not hub.processes(), f"left behind: {hub.processes()}")

    hub.start_server()
    ended = until(lambda: (record := hub.when("zmumu"))["phase"] in {"stopped", "failed"} and record)
    assert ended["id"] == running["id"]
    assert ended["reason"]["code"] == "server-ended"
    hub.offload("POST", "/clusters", {"spec": {"name": "next", "workers": 1}})
    hub.when("next", phase="running", connectable=True)
