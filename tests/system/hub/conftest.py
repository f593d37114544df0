"""A real JupyterHub below a URL prefix, its real proxy, and a user who logs in by HTTP as a browser does."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

PATIENCE_S = 120
USER = "alice"
HERE = Path(__file__).parent
#: Runs its command as the first process of a world that ends with it, as a pod or a systemd unit does.
OWN_WORLD = ["unshare", *([] if os.getuid() == 0 else ["--user", "--map-root-user"]),
             "--pid", "--fork", "--kill-child", "--mount-proc"]  # fmt: skip


def until(what: Callable[[], Any], wrong: str = "it did not happen") -> Any:
    """Return the first true value of ``what``; a connection that fails counts as not yet."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            if value := what():
                return value
        assert time.monotonic() < deadline, wrong
        time.sleep(0.1)


def free_ports(number: int) -> list[int]:
    """Return ports that the OS finds free."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="session")
def proxy_command() -> Path:
    """Install configurable-http-proxy once and keep it in the cache, keyed by its lock file."""
    key = hashlib.sha256((HERE / "proxy/package-lock.json").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jupyter-offload"
    folder = cache / f"hub-proxy-{key}"
    command = folder / "node_modules/.bin/configurable-http-proxy"
    if not command.exists():
        part = Path(tempfile.mkdtemp(prefix=folder.name, dir=cache.mkdir(parents=True, exist_ok=True) or cache))
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "proxy" / name, part)
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=part, check=True, timeout=300)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    return command


@dataclass
class Hub:
    """A running Hub with one user, and this user's browser."""

    url: str
    folder: Path
    runtime: Path
    process: subprocess.Popen[bytes]
    browser: httpx.Client = field(default_factory=lambda: httpx.Client(follow_redirects=True, timeout=60))

    @property
    def base_path(self) -> str:
        return f"/prefix/user/{USER}/"

    @property
    def home(self) -> Path:
        return self.folder / "home" / USER

    def log_in(self) -> None:
        """Fill in the Hub's login form."""
        page = until(lambda: self._page("hub/login"), "the Hub did not start: " + self.log()[-2000:])
        form = {"username": USER, "password": "pw", "_xsrf": self.browser.cookies.get("_xsrf", path="/prefix/hub/")}
        page = self.browser.post(f"{self.url}hub/login", data=form, headers={"Referer": f"{self.url}hub/login"})
        assert page.status_code == 200, page.text

    def _page(self, path: str) -> httpx.Response | None:
        page = self.browser.get(self.url + path)
        # The Hub answers with a page of its own while a server starts.
        return page if page.status_code == 200 and page.url.path == f"/prefix/{path}" else None

    def start_server(self) -> None:
        """Start the user's Jupyter server and log in there too."""
        self.browser.get(f"{self.url}hub/spawn/{USER}")
        until(lambda: self._page(f"user/{USER}/lab"), "the single-user server did not start")

    def stop_server(self) -> None:
        """Press "Stop My Server"."""
        xsrf = self.browser.cookies.get("_xsrf", path="/prefix/hub/")
        answer = self.browser.delete(
            f"{self.url}hub/api/users/{USER}/server",
            headers={"X-XSRFToken": xsrf or "", "Referer": f"{self.url}hub/home"},
        )
        assert answer.status_code in {202, 204}, answer.text

    def offload(self, method: str, path: str, body: Any = None, anonymous: bool = False) -> httpx.Response:
        """Call the extension through the Hub's proxy."""
        url = f"{self.url}user/{USER}/offload/v1{path}"
        if anonymous:
            return httpx.request(method, url, json=body, timeout=60)
        xsrf = self.browser.cookies.get("_xsrf", path=self.base_path) or ""
        headers = {"X-XSRFToken": xsrf, "Referer": f"{self.url}user/{USER}/lab"}
        return self.browser.request(method, url, json=body, headers=headers)

    def when(self, name: str, **wanted: Any) -> dict[str, Any]:
        """Ask until the cluster is so."""

        def so() -> dict[str, Any] | None:
            answer = self.offload("GET", f"/clusters/{name}")
            record: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
            return record if record and all(record[key] == value for key, value in wanted.items()) else None

        found: dict[str, Any] = until(so, f"cluster {name} was never {wanted}")
        return found

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Return the user's processes, wherever they are, whose command line contains a word."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("HOME") == str(self.home) and word in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def log(self) -> str:
        return (self.folder / "hub.log").read_text(errors="replace")

    def end(self) -> None:
        """End the Hub, its proxy, and everything of the user."""
        self.browser.close()
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for process in [*children, *self.processes()]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(self.runtime)


def start_hub(folder: Path, proxy_command: Path, wrapper: list[str]) -> Hub:
    """Start a Hub whose servers are started by ``wrapper``."""
    public, hub, api = free_ports(3)
    runtime = Path(tempfile.mkdtemp(prefix="hub-", dir="/tmp"))
    (folder / "home").mkdir()
    config = folder / "jupyterhub_config.py"
    server = [*wrapper, str(Path(sys.prefix) / "bin/jupyterhub-singleuser")]
    config.write_text(
        f"""
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{public}/prefix/"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}/prefix/"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.authenticator_class = "dummy"
c.ConfigurableHTTPProxy.command = [{str(proxy_command)!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.DummyAuthenticator.password = "pw"
c.Authenticator.allow_all = True
c.JupyterHub.load_groups = {{"dask": {{"users": [{USER!r}]}}}}
c.SimpleLocalProcessSpawner.home_dir_template = {str(folder / "home")!r} + "/{{username}}"
c.Spawner.cmd = {server!r}
c.Spawner.args = ["--LabApp.news_url=None"] + {["--allow-root"] if os.getuid() == 0 else []!r}
c.Spawner.default_url = "/lab"
c.Spawner.poll_interval = 1
c.LocalProcessSpawner.interrupt_timeout = 2
c.LocalProcessSpawner.term_timeout = 2
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 120
c.Spawner.environment = {{"XDG_RUNTIME_DIR": {str(runtime)!r}}}
""",
        encoding="utf-8",
    )
    # The Hub's own process must not hand this test's Jupyter folders to the user.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "XDG_"))}
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.prefix) / "bin/jupyterhub"), "--config", str(config)],
            cwd=folder,
            env=env,
            stdout=log,
            stderr=log,
        )
    return Hub(f"http://127.0.0.1:{public}/prefix/", folder, runtime, process)


@pytest.fixture
def hub(tmp_path: Path, proxy_command: Path, request: pytest.FixtureRequest) -> Iterator[Hub]:
    """A Hub; parametrize indirectly with the wrapper of its servers."""
    made = start_hub(tmp_path, proxy_command, getattr(request, "param", []))
    try:
        made.log_in()
        made.start_server()
        yield made
    finally:
        print(made.log()[-5000:])
        made.end()
