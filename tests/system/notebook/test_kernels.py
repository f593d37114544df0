"""Real kernels: the notebook API in a cell, and the plain cell in a kernel that has nothing of ours."""

import subprocess
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient

import jupyter_offload as offload
from jupyter_offload.api.client import KeeperClient
from jupyter_offload.api.models import Connection

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "how-to" / "use-a-kernel-without-the-package.md"


def run(cells, home, *, env=None, python=None):
    """Execute cells in a kernel of their own; return the executed cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    manager = KernelManager(kernel_name="python3")
    if python is not None:
        manager.kernel_spec.argv[0] = str(python)
    client = NotebookClient(notebook, km=manager, timeout=120)
    client.execute(env=env or home.env, cwd=str(home.folder))
    return notebook.cells


def html_of(cell):
    return [o["data"]["text/html"] for o in cell.outputs if "text/html" in o.get("data", {})]


def text_of(cell):
    return "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)


def test_a_notebook_makes_a_cluster_named_after_it_and_shows_cards(home):
    server = {"JPY_SESSION_NAME": "/home/me/zmumu.ipynb", "JUPYTERHUB_SERVICE_PREFIX": "/user/me/"}
    cells = run(
        [
            "import jupyter_offload as offload\noffload.sites()",
            "cluster = offload.new_cluster(workers=1)\ncluster",
            "from dask.distributed import Client\nclient = Client(cluster)\nclient",
            "client.submit(sum, [40, 2]).result()",
            "again = await Client(await offload.cluster('zmumu', asynchronous=True), asynchronous=True)\n"
            "print(await again.submit(sum, [1, 2]))\nawait again.close()",
            "cluster.scale(0)\nclient.close()\ncluster.close()",
        ],
        home,
        env=home.env | server,
    )
    assert "This" in html_of(cells[0])[0] and "<table>" in html_of(cells[0])[0]
    (card,) = [h for h in html_of(cells[1]) if "role=" not in h]
    record = offload.cluster("zmumu").record
    assert "zmumu" in card and f'href="/user/me/offload/v1/clusters/{record.id}/dashboard/"' in card
    assert f"/user/me/offload/v1/clusters/{record.id}/dashboard/" in html_of(cells[2])[0]
    assert text_of(cells[3]) == "42" and text_of(cells[4]) == "3\n"
    assert "stopped" in html_of(cells[5])[0]


def test_waiting_in_a_notebook_shows_one_line_that_keeps_up(home, slow_module):
    code = (
        "import jupyter_offload as offload\n"
        f"try: offload.new_cluster('look', workers=1, env={slow_module!r}, modules=['slow_module'], timeout=4)\n"
        "except offload.OffloadError as error: print(error.code)"
    )
    (cell,) = run([code], home)
    shown = html_of(cell)
    assert len(shown) == 1, "the line is updated, not repeated"
    assert 'role="status"' in shown[0] and "look: " in shown[0] and "0 of 1 workers" in shown[0]
    assert "timeout" in text_of(cell)


def test_interrupting_the_kernel_leaves_the_cluster(home, slow_module):
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=home.env, cwd=str(home.folder))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        asked = client.execute(
            "import jupyter_offload as offload\n"
            f"offload.new_cluster('waits', workers=1, env={slow_module!r}, modules=['slow_module'])"
        )
        said = ""
        interrupted = False
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            message = client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] in ("display_data", "update_display_data") and not interrupted:
                interrupted = True
                manager.interrupt_kernel()
            if message["msg_type"] == "stream":
                said += message["content"]["text"]
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        assert interrupted and 'offload.cluster("waits")' in said
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert offload.cluster("waits").phase in ("pending", "starting", "running")


def guide_cell(connection_file):
    """The cell as the guide shows it."""
    cell = GUIDE.read_text().split("```python\n", 1)[1].split("```", 1)[0]
    assert "<connection_file>" in cell
    return cell.replace("<connection_file>", connection_file)


def connection_file(name):
    client = KeeperClient()
    try:
        return client.call("clusterConnection", Connection, id=name).connection_file
    finally:
        client.close()


@pytest.mark.timeout(600)
def test_the_plain_cell_works_in_a_kernel_without_the_package(home, bare_python, monkeypatch):
    # A path with spaces, and a kernel whose home and Jupyter folders are other ones.
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(home.folder / "data with spaces"))
    home.env["JUPYTER_DATA_DIR"] = str(home.folder / "data with spaces")
    cluster = offload.new_cluster("plain", workers=1)
    other_home = home.folder / "another home"
    other_home.mkdir()
    env = {"HOME": str(other_home), "PATH": "/usr/bin:/bin", "JUPYTER_RUNTIME_DIR": home.env["JUPYTER_RUNTIME_DIR"]}
    path = connection_file("plain")
    assert " " in path
    cells = run(
        [
            "try:\n    import jupyter_offload\nexcept ImportError:\n    print('not here')",
            guide_cell(path),
            "client.submit(sum, [40, 2]).result()",
            "client.close()",
        ],
        home,
        env=env,
        python=bare_python,
    )
    assert text_of(cells[0]) == "not here\n"
    assert "tls://" in html_of(cells[1])[0]
    assert text_of(cells[2]) == "42"
    assert cluster.phase == "running"
    cluster.close()
    done = subprocess.run([bare_python, "-c", guide_cell(path)], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "FileNotFoundError" in done.stderr, "the file of an ended cluster is gone: no hang"


def test_the_guide_and_the_button_give_the_same_cell():
    button = (ROOT / "labextension" / "src" / "cells" / "code.ts").read_text()
    lines = [line.strip() for line in guide_cell("there").splitlines() if line.strip() and "there" not in line]
    assert len(lines) > 10
    assert [line for line in lines if line not in button] == []
