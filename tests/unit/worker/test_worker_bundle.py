"""The file that travels: what is in it, for whom, and that the Python of any image can say why it does not do."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from jupyter_offload.worker import bundle
from jupyter_offload.worker.job import BUNDLE, JOB, WorkerJob, job_command, job_file

#: What runs before it is known that the Python will do.
FIRST = ("__main__", "worker/__init__", "worker/boot", "worker/checks", "worker/endings", "worker/files", "worker/job",
         "worker/surroundings", "scheduler/__init__", "scheduler/versions")  # fmt: skip


@pytest.fixture(scope="module")
def contents() -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(bundle.worker_bundle())) as file:
        return {name: file.read(name).decode() for name in file.namelist()}


def test_it_is_small_and_the_same_every_time() -> None:
    first = bundle.worker_bundle()
    bundle.worker_bundle.cache_clear()
    assert bundle.worker_bundle() == first
    assert len(first) < 150 << 10


def test_it_holds_every_module_of_this_package_but_the_one_that_makes_it(contents: dict[str, str]) -> None:
    here = {path.name for path in Path(bundle.__file__).parent.glob("*.py")} - {"bundle.py"}
    assert {name.rpartition("/")[2] for name in contents if name.startswith(f"{bundle.PACKAGE}/worker/")} == here


def test_whatever_is_imported_of_ours_travels_too(contents: dict[str, str]) -> None:
    for name, text in contents.items():
        if not name.startswith(bundle.PACKAGE) or not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level and not _is_for_types_only(text, node):
                folder = name.split("/")[: -node.level]
                target = "/".join([*folder, *(node.module or "").split(".")]).rstrip("/")
                found = {f"{target}.py", *(f"{target}/{one.name}.py" for one in node.names)}
                assert found & contents.keys(), (name, target)


def _is_for_types_only(text: str, node: ast.ImportFrom) -> bool:
    return any(
        isinstance(block, ast.If)
        and "TYPE_CHECKING" in ast.dump(block.test)
        and node.lineno in range(block.lineno, block.end_lineno + 1)
        for block in ast.walk(ast.parse(text))
        if isinstance(block, ast.If) and block.end_lineno is not None
    )


@pytest.mark.parametrize("module", FIRST)
def test_what_runs_first_is_python_3_8(contents: dict[str, str], module: str) -> None:
    text = contents[f"{module}.py" if module == "__main__" else f"{bundle.PACKAGE}/{module}.py"]
    tree = ast.parse(text, feature_version=(3, 8))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module_name = node.names[0].name if isinstance(node, ast.Import) else node.module or ""
            assert module_name.split(".")[0] not in ("tomllib", "zoneinfo", "distributed", "dask"), (
                "not there, or not yet"
            )


def test_a_python_that_is_too_old_says_so(contents: dict[str, str]) -> None:
    code = "import sys; sys.version_info = (3, 7, 16)\n" + contents["__main__.py"]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 64
    assert json.loads(done.stdout.partition("offload-end: ")[2])["code"] == "version-mismatch"


def test_the_checks_import_nothing_of_dask(tmp_path: Path) -> None:
    """Else an image whose Dask is broken could not say so, and each answer would take a second."""
    (tmp_path / BUNDLE).write_bytes(bundle.worker_bundle())
    job = WorkerJob("w1", 1, 0, "w-w1-", "relay://scheduler", {}, versions={"python": "3.99.0"})
    (tmp_path / JOB).write_bytes(job_file(job))
    python, *words = job_command(sys.executable, str(tmp_path))
    done = subprocess.run([python, "-X", "importtime", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 64
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert bundle.PACKAGE in imported
    assert not imported & {"distributed", "dask", "numpy", "tornado", "yaml", "asyncio"}
