"""A private home for each test: its own Jupyter folders, hence its own keeper, all of which is gone afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from jupyter_offload.api import locations

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would everything that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Home:
    """Folders and processes of one test."""

    folder: Path
    env: dict

    def processes(self):
        """All living processes that were started in this home, by their environment or command line."""
        found = []
        for process in psutil.process_iter():
            try:
                words = [*process.cmdline(), *process.environ().values()]
                if process.pid != os.getpid() and any(str(self.folder) in word for word in words):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def named(self, part):
        """Those whose command line has this part."""
        return [p for p in self.processes() if any(part in word for word in p.cmdline())]

    def python(self, code, *, python=sys.executable, timeout=90, **env):
        """Run a script as a user would in a terminal."""
        return subprocess.run(
            [python, "-c", code], capture_output=True, text=True, timeout=timeout, env=self.env | env, cwd=self.folder
        )

    def offload(self, *words, timeout=90):
        """Run ``jupyter offload``."""
        return subprocess.run(
            [sys.executable, "-m", "jupyter_offload.cli", *words],
            capture_output=True, text=True, timeout=timeout, env=self.env, cwd=self.folder,
        )  # fmt: skip


@pytest.fixture
def home(monkeypatch):
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="jo"))
    (folder / "x").mkdir(mode=0o700)
    settings = {
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "run"),
        "XDG_RUNTIME_DIR": str(folder / "x"),
    }
    for name in ("JUPYTERHUB_SERVICE_PREFIX", "JPY_PARENT_PID", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    home = Home(folder, dict(os.environ))
    yield home
    if locations.socket_path().exists():
        home.offload("clusters", "stop", "--all", "--json")
    left = home.processes()
    for process in left:
        process.terminate()
    for process in psutil.wait_procs(left, timeout=10)[1]:
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slow_module(home):
    """Environment variables with which importing ``slow_module`` takes very long: a cluster that stays on its way."""
    (home.folder / "modules").mkdir()
    (home.folder / "modules" / "slow_module.py").write_text("import time\ntime.sleep(600)\n")
    return {"PYTHONPATH": str(home.folder / "modules")}


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory):
    """A virtual environment with ipykernel and Dask only, in a folder with spaces."""
    folder = tmp_path_factory.mktemp("an environment") / "of its own"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    import distributed

    packages = ["ipykernel", f"distributed=={distributed.__version__}"]
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        command = [uv, "pip", "install", "-q", "--python", str(python), *packages]
    else:
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *packages]
    subprocess.run(command, check=True, timeout=600)
    return python
