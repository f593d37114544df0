"""Each notebook is executed as it is in the repository, against a real keeper, and its physics is read from the outputs."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import nbformat
import psutil
import pytest

nbclient = pytest.importorskip("nbclient")
for module in ("awkward", "coffea", "matplotlib", "scipy", "uproot"):
    pytest.importorskip(module)

from benchmarks import analysis  # noqa: E402
from jupyter_offload.api import models  # noqa: E402
from jupyter_offload.api.client import KeeperClient  # noqa: E402
from jupyter_offload.api.models import Phase  # noqa: E402
from jupyter_offload.examples import nanoaod  # noqa: E402

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
NAMES = ["zmumu-uproot.ipynb", "zmumu-coffea.ipynb"]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The input the notebooks make themselves when it is missing; made once here, since both find it in ``data/``."""
    return nanoaod.make(tmp_path_factory.mktemp("work") / "data", events=2_000_000, files=4)


@pytest.fixture(scope="module")
def expected_pairs(files):
    """The pairs that a plain loop finds, without any cluster."""
    return analysis.count_all((str(path), start, start + 250_000) for path in files for start in (0, 250_000))


@pytest.fixture
def world(monkeypatch, tmp_path):
    """A keeper of its own; whatever belongs to it is ended by process id."""
    runtime = tempfile.mkdtemp(prefix="jo", dir="/tmp")
    for name in ("DATA", "CONFIG", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    client = KeeperClient()
    yield client
    client.close()
    mine = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("JUPYTER_DATA_DIR") == str(tmp_path / "data"):
                mine.append(process)
        except psutil.Error:
            continue
    for process in mine:
        process.kill()
    psutil.wait_procs(mine, timeout=10)
    shutil.rmtree(runtime, ignore_errors=True)


def execute(name: str, folder: Path, before: str | None = None, twice: bool = False) -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    if twice:
        notebook.cells += nbformat.read(NOTEBOOKS / name, as_version=4).cells
        for i, cell in enumerate(notebook.cells):
            cell["id"] = f"cell-{i}"
    if before is not None:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(before))
    nbclient.NotebookClient(
        notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


def results(notebook: nbformat.NotebookNode) -> list[dict]:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [o.data["application/json"] for o in outputs if "application/json" in o.get("data", {})]


def images(notebook: nbformat.NotebookNode) -> int:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return sum("image/png" in o.get("data", {}) for o in outputs)


def check(result: dict, expected_pairs: int, workers: int = 2) -> None:
    assert abs(result["mass_gev"] - 91.19) < 0.1
    assert result["mass_error_gev"] < 0.02
    assert 0.9 < result["resolution_gev"] < 1.05
    assert result["muon_pairs"] == expected_pairs
    assert len(result["tasks_of_worker"]) == workers
    assert all(count > 0 for count in result["tasks_of_worker"].values()), result["tasks_of_worker"]


def running(keeper: KeeperClient) -> list[models.Cluster]:
    return [c for c in keeper.call("listClusters", models.ClusterList).clusters if c.phase is Phase.running]


def close(keeper: KeeperClient, cluster: models.Cluster) -> None:
    keeper.call("deleteCluster", models.Cluster, id=cluster.id)
    since = cluster.revision
    for _ in range(60):
        seen = keeper.call("getCluster", models.Cluster, id=cluster.id)
        if seen.phase is Phase.stopped:
            return
        since = keeper.call("changes", models.Changes, since=since, timeout_s=1).revision
    raise AssertionError(f"still {seen.phase}: {seen.reason}")


@pytest.mark.parametrize("name", NAMES)
def test_notebook_finds_the_z(name, world, files, expected_pairs):
    done = execute(name, files[0].parent.parent)
    [result] = results(done)
    check(result, expected_pairs)
    assert images(done) == 1
    [cluster] = running(world)
    assert cluster.name == "zmumu"
    assert {w.name for w in cluster.worker_list} == set(result["tasks_of_worker"])
    assert all(w.tasks_done > 0 for w in cluster.worker_list)
    close(world, cluster)


def test_running_all_cells_again_uses_the_same_cluster(world, files, expected_pairs):
    folder = files[0].parent.parent
    first = results(execute(NAMES[0], folder, twice=True))
    assert len(first) == 2
    for result in first:
        check(result, expected_pairs)
    [cluster] = running(world)
    # another kernel, another notebook: still the one cluster named zmumu
    [other] = results(execute(NAMES[1], folder))
    check(other, expected_pairs)
    assert [c.id for c in running(world)] == [cluster.id]
    close(world, cluster)


def test_notebook_attached_by_lab_uses_that_cluster(world, files, expected_pairs):
    before = (
        "import jupyter_offload as offload\nfrom dask.distributed import Client\n"
        "cluster = offload.new_cluster(name='mine', workers=1)\nclient = Client(cluster)"
    )
    [result] = results(execute(NAMES[0], files[0].parent.parent, before))
    check(result, expected_pairs, workers=1)
    [cluster] = running(world)
    assert cluster.name == "mine"
    close(world, cluster)


def test_missing_input_is_made_by_the_notebook(tmp_path):
    for name in NAMES:
        notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
        [cell] = [c for c in notebook.cells if "nanoaod.make" in c.source]
        space = {}
        source = cell.source.replace("2_000_000", "2_000").replace('"data"', repr(str(tmp_path / name)))
        assert source != cell.source
        exec(source, space)  # the cell itself, smaller
        assert len(space["files"]) == 4
        assert all(Path(path).is_absolute() and Path(path).exists() for path in space["files"])


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_committed_clean(name):
    notebook = json.loads((NOTEBOOKS / name).read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
