"""Who may import whom, and what must not be loaded where."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from jupyter_offload.relay import bundle

#: Loaded by nobody in the Jupyter server because of us.
HEAVY = ("pydantic", "dask", "distributed", "bokeh", "kubernetes", "rucio", "cryptography", "numpy", "pandas")

#: Starts a Jupyter server with or without our extension, as far as before its loop runs, and prints what is loaded.
START_SERVER = """
import json, sys
from jupyter_server.serverapp import ServerApp

with_us = sys.argv[1] == "with"
app = ServerApp(jpserver_extensions={"jupyter_offload": with_us}, open_browser=False, port=0, ip="127.0.0.1",
                allow_root=True, log_level="ERROR")
app.initialize(argv=[])
app.http_server.stop()
print(json.dumps(sorted(sys.modules)))
"""


def run_python(code: str, *arguments: str, folder: Path) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "PYTHON"))}
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        env[name] = str(folder / name)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_imports_go_one_way(root: Path) -> None:
    tool = Path(sysconfig.get_path("scripts")) / "lint-imports"
    done = subprocess.run([tool, "--no-cache"], cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    "module", ["jupyter_offload.server.app", "jupyter_offload.api.routes", "jupyter_offload.api.start"]
)
def test_what_the_server_imports_is_light(module: str, tmp_path: Path) -> None:
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.partition(".")[0] for name in json.loads(run_python(code, folder=tmp_path))}
    assert loaded.isdisjoint(HEAVY), sorted(loaded.intersection(HEAVY))


def test_a_server_with_us_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = {which: set(json.loads(run_python(START_SERVER, which, folder=tmp_path))) for which in ("with", "without")}
    ours = loaded["with"] - loaded["without"]
    assert "jupyter_offload.server.app" in ours  # it was really loaded
    assert not any(name.startswith("jupyter_offload.keeper") for name in ours)
    heavy = {name for name in ours if name.partition(".")[0] in HEAVY}
    assert not heavy, sorted(heavy)


def test_importing_the_package_loads_none_of_its_parts(tmp_path: Path) -> None:
    code = "import sys, json, jupyter_offload; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(run_python(code, folder=tmp_path))
    ours = {n for n in loaded if n.startswith("jupyter_offload")}
    assert ours <= {"jupyter_offload", "jupyter_offload._version"}
    assert {n.partition(".")[0] for n in loaded}.isdisjoint(HEAVY)


def test_what_runs_in_the_users_environment_needs_distributed_alone(root: Path) -> None:
    """Any kernelspec's Python runs these files; it has distributed and what distributed itself requires."""
    allowed = {"distributed", "dask", "tornado", "psutil"} | set(sys.stdlib_module_names)
    files = [*(root / "jupyter_offload" / "scheduler").rglob("*.py"), *bundle.files()]
    assert {"zygote.py", "names.py", "backend.py"} <= {file.name for file in files}
    for file in files:
        here = len(file.relative_to(root / "jupyter_offload").parts) - 1
        for node in ast.walk(ast.parse(file.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            elif isinstance(node, ast.ImportFrom):
                assert node.level <= here, f"{file.name} imports from outside of its package"
            foreign = {n.partition(".")[0] for n in names} - allowed
            assert not foreign, f"{file.name} imports {', '.join(foreign)}"
