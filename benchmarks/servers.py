"""Jupyter servers as separate processes: with us, without us, or with dask-labextension from an environment of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx
import psutil

from .workspace import Workspace, until

LABEXTENSION = "7.0.0"


class JupyterServer:
    """A running server; ``http`` is an open, authorised connection to it."""

    def __init__(self, process: subprocess.Popen[bytes], http: httpx.Client, started_s: float) -> None:
        self.process, self.http, self.started_s = process, http, started_s

    @property
    def seen(self) -> psutil.Process:
        return psutil.Process(self.process.pid)


@contextmanager
def jupyter_server(
    place: Workspace,
    extensions: Mapping[str, bool],
    *,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
) -> Iterator[JupyterServer]:
    """Start ``jupyter lab``, as people do, with these extensions; wait until it answers, and end it."""
    port_file = place.folder / "runtime"
    token = secrets.token_hex(16)
    config = place.folder / "server-config.json"
    server_app = {
        "jpserver_extensions": dict(extensions),
        "root_dir": str(place.folder / "root"),
        "open_browser": False,
    }
    config.write_text(json.dumps({
        "ServerApp": {**server_app, "ip": "127.0.0.1", "port": 0, "port_retries": 0, "allow_root": True,
                      "disable_check_xsrf": True},
        "IdentityProvider": {"token": token}, "LabApp": {"news_url": None},
    }))  # fmt: skip
    config.chmod(0o600)
    log = (place.folder / "server.log").open("ab")
    start = time.monotonic()
    process = subprocess.Popen(
        [python, "-m", "jupyterlab", f"--config={config}"],
        env={**place.environment, **(env or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        with httpx.Client(headers={"Authorization": f"token {token}"}, timeout=60) as http:
            until(lambda: _answers(process, port_file, http), 90, 0.005)
            yield JupyterServer(process, http, time.monotonic() - start)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _answers(process: subprocess.Popen[bytes], runtime: Path, http: httpx.Client) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the Jupyter server ended with {process.returncode}")
    try:
        info = json.loads((runtime / f"jpserver-{process.pid}.json").read_text())
        http.base_url = info["url"]
        return http.get("/api/status").status_code == 200
    except (OSError, ValueError, httpx.HTTPError):
        return False


def labextension_python() -> str:
    """Return the Python of an environment with dask-labextension and this environment's Dask, made once in the cache.

    Raises:
        RuntimeError: it could not be installed; the message is the installer's.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jupyter-offload-benchmarks"
    wanted = [
        f"dask-labextension=={LABEXTENSION}",
        *(f"{p}=={version(p)}" for p in ("dask", "distributed", "jupyter_server")),
    ]
    folder = (
        cache / f"labextension-{LABEXTENSION}-py{sys.version_info[0]}{sys.version_info[1]}-dask{version('distributed')}"
    )
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        print(f"Installing {' '.join(wanted)} into {folder} (once)", file=sys.stderr)
        commands = [
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "bokeh>=3.1", *wanted],
        ]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)}: {done.stderr[-1000:]}")
        complete.touch()
    return str(python)
