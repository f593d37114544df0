"""What users install: a wheel with the Lab extension inside, that needs no node, and declares all it imports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(900)


def run(*command: str | Path, path: str | None = None, home: Path | None = None) -> str:
    """Run a command in a clean environment; its output is in the error when it fails."""
    kept = ("PIP_", "SSL_", "REQUESTS_", "HTTP", "http", "no_proxy", "NO_PROXY", "LANG", "TMPDIR", "XDG_CACHE")
    env = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    env |= {"PATH": path or os.environ["PATH"], "HOME": str(home or Path.home())}
    done = subprocess.run(
        [str(part) for part in command], env=env, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def path_without_node(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH with the programs that Python's tools need, and no node, npm or jlpm."""
    folder = tmp_path_factory.mktemp("bin")
    for program in ("sh", "env", "uname", "ldd", "gcc", "git"):
        found = shutil.which(program)
        if found:
            (folder / program).symlink_to(found)
    assert shutil.which("node", path=str(folder)) is None
    return str(folder)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory, path_without_node: str) -> Path:
    """The wheel; once the Lab extension is built, making it needs no node either."""
    folder = tmp_path_factory.mktemp("dist")
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        folder,
        ROOT,
        path=path_without_node,
    )
    [made] = folder.glob("*.whl")
    return made


def test_the_wheel_holds_each_thing_once(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert sum(name.endswith("static/style.js") for name in names) == 1
    data = [name.partition(".data/data/")[2] for name in names if ".data/data/" in name]
    assert "share/jupyter/labextensions/jupyter-offload/package.json" in data
    assert "share/jupyter/labextensions/jupyter-offload/install.json" in data
    assert "etc/jupyter/jupyter_server_config.d/jupyter_offload.json" in data
    for needed in (
        "server/schemas/changes-v1.yaml",
        "server/templates/offload-dashboard.html",
        "server/static/dashboard.js",
    ):
        assert f"jupyter_offload/{needed}" in names
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name or name.startswith("tests/")]


def test_it_works_in_a_fresh_environment_without_node(wheel: Path, path_without_node: str, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", venv)
    python = venv / "bin/python"
    path = f"{venv / 'bin'}{os.pathsep}{path_without_node}"
    lock = ROOT / "requirements/lab.txt"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", lock, wheel, path=path)

    home = tmp_path / "home"
    home.mkdir()
    listed = run(venv / "bin/jupyter", "labextension", "list", path=path, home=home)
    assert "jupyter-offload" in listed
    [line] = [line for line in listed.splitlines() if "jupyter-offload v" in line]
    assert "enabled" in line
    assert "OK" in line
    listed = run(venv / "bin/jupyter", "server", "extension", "list", path=path, home=home)
    [line] = [
        line for line in listed.splitlines() if "jupyter_offload" in line and "enabled" not in line and "OK" in line
    ]
    assert "OK" in line
    # Every module of ours imports with what the wheel declares, but for those that say they need more: the tutorial's
    # generator (extra "hep"), the conformance tests (pytest), and what runs by its path in the user's environment.
    code = (
        "import importlib, pkgutil, jupyter_offload\n"
        "for m in pkgutil.walk_packages(jupyter_offload.__path__, 'jupyter_offload.'):\n"
        "    needs_more = m.name.endswith(('__main__', '.conformance')) or '.examples' in m.name or '.scheduler.' in m.name\n"
        "    if not needs_more:\n"
        "        importlib.import_module(m.name)\n"
    )
    run(python, "-W", "error::ImportWarning", "-c", code, path=path, home=home)
    assert "offload" in run(venv / "bin/jupyter", "offload", "--help", path=path, home=home)
