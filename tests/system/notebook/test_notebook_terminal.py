"""The notebook API from plain Python in a terminal."""

import os
import pty
import select
import signal
import subprocess
import sys

import pytest

import jupyter_offload as offload


def test_a_script_needs_no_secret(home):
    made = home.python("import jupyter_offload as o; print(o.new_cluster('term', workers=1))")
    assert made.returncode == 0, made.stderr
    assert "running" in made.stdout and made.stderr == ""
    done = home.python(
        "from dask.distributed import Client\n"
        "import jupyter_offload as offload\n"
        "print(Client(offload.cluster('term')).submit(sum, [40, 2]).result())"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")


def start(home, code, slow_module, **streams):
    preamble = f"import jupyter_offload as offload\nenv = {slow_module!r}\n"
    return subprocess.Popen([sys.executable, "-c", preamble + code], env=home.env, text=True, **streams)


def wait_until_there(name):
    for _ in range(200):
        if any(c.name == name for c in _clusters()):
            return
        select.select([], [], [], 0.1)
    raise AssertionError(f"no cluster {name}")


def _clusters():
    from jupyter_offload.api.client import KeeperClient
    from jupyter_offload.api.models import ClusterList

    client = KeeperClient()
    try:
        return client.call("listClusters", ClusterList).clusters
    finally:
        client.close()


def test_ctrl_c_while_waiting_leaves_the_cluster_and_says_how_to_get_it(home, slow_module):
    code = "offload.new_cluster('patience', workers=1, env=env, modules=['slow_module'])"
    process = start(home, code, slow_module, stderr=subprocess.PIPE)
    wait_until_there("patience")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode != 0 and "KeyboardInterrupt" in stderr
    assert 'cluster = offload.cluster("patience")' in stderr
    assert offload.cluster("patience").phase in ("pending", "starting", "running")


def test_a_terminal_shows_phase_and_reason_on_one_line(home, slow_module):
    master, slave = pty.openpty()
    code = (
        "try: offload.new_cluster('look', workers=1, env=env, modules=['slow_module'], timeout=4)\n"
        "except offload.OffloadError as error: print(error.code)"
    )
    process = start(home, code, slow_module, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    stdout, _ = process.communicate(timeout=60)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert stdout == "timeout\n"
    assert "\rlook: starting, 0 of 1 workers, " in shown or "\rlook: running, 0 of 1 workers, " in shown
    assert "\n" not in shown and shown.endswith("\r")


def test_timeout_leaves_the_cluster(home, slow_module):
    with pytest.raises(offload.OffloadError) as caught:
        offload.new_cluster("slow", workers=1, env=slow_module, modules=["slow_module"], timeout=1.5)
    assert caught.value.code == "timeout" and caught.value.transient
    assert offload.cluster("slow").close().phase == "stopped"
