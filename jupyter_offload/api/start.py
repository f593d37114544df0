"""Find the keeper, or start one: every door calls ``ensure_keeper`` before its first request.

The keeper is started as ssh-agent or tmux are: detached, on demand, and never as a child of the door, so that the death of
the Jupyter server or the kernel does not touch it. Two doors may race: the lock file decides, both then meet the winner.
Where ``placement.yaml`` gives keepers pods of their own, a doorway is started in its stead, which serves the same socket.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

from .. import __version__
from . import locations, relay_token
from .problems import ProblemCode, Unavailable
from .routes import API_VERSION

START_TIMEOUT_S = 30.0
#: Secrets of the session that starts the keeper; clusters get an environment without them.
SECRET_PREFIXES = ("JUPYTERHUB_", "JPY_")
SECRET_NAMES = frozenset({"JUPYTER_TOKEN", "CONFIGPROXY_AUTH_TOKEN", "JUPYTER_SERVER_URL"})
#: Set to 1 or 0 where the guess of ``ends_with_server`` is wrong.
ENDS_WITH_SERVER = "JUPYTER_OFFLOAD_ENDS_WITH_SERVER"

_INIT_PROCESSES = {"systemd", "init", "launchd", "openrc-init", "runit", "s6-svscan", "s6-linux-init"}


def ends_with_server() -> bool:
    """Tell whether whatever runs under this Hub session is killed together with the Jupyter server.

    True in a container, where the session's first process is no init system but the server or its wrapper (kubespawner,
    dockerspawner), and in a systemd unit of the server's own (systemdspawner). A plain process spawner kills one process.
    """
    said = os.environ.get(ENDS_WITH_SERVER)
    if said is not None:
        return said.strip().lower() in {"1", "true", "yes"}
    if not os.environ.get("JUPYTERHUB_SERVICE_PREFIX"):
        return False
    try:
        first = Path("/proc/1/comm").read_text().strip()
        first_command = Path("/proc/1/cmdline").read_bytes()
        unit = Path("/proc/self/cgroup").read_text().strip().rsplit("/", 1)[-1]
    except OSError:
        return False
    if first not in _INIT_PROCESSES and (b"jupyter" in first_command or first in {"tini", "dumb-init", "pause"}):
        return True
    return unit.startswith("jupyter-") and unit.endswith(".service")


def clean_environment() -> dict[str, str]:
    """Return the environment for the keeper: this one without the session's secrets."""
    secret = SECRET_NAMES | {relay_token.variable_name()}
    env = {k: v for k, v in os.environ.items() if not k.startswith(SECRET_PREFIXES) and k not in secret}
    env[ENDS_WITH_SERVER] = "1" if ends_with_server() else "0"
    return env


def _health(socket: Path) -> dict[str, object] | None:
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), timeout=5) as http:
            answer = http.get("http://keeper/health")
        return dict(answer.json()) if answer.status_code == 200 else None
    except (httpx.HTTPError, OSError, ValueError):
        return None


def _outdated(health: dict[str, object]) -> bool:
    api = health.get("api")
    if not isinstance(api, int) or api < API_VERSION:
        return True
    return api == API_VERSION and older(str(health.get("version")), __version__)


def older(release: str, other: str) -> bool:
    """Tell whether a release came before another one."""
    return _order(release) < _order(other)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".") if part.isdigit())


def ensure_keeper() -> Path:
    """Return the socket of a running keeper of this release or newer, starting it if there is none. Blocks; idempotent.

    An older keeper is asked to hand over: it ends, its clusters go on, and the new one takes them up from the records.

    Raises:
        Unavailable: no keeper answered within 30 s; the message quotes the last lines of its log. Or one of an older
            release does not make room (``keeper-outdated``).
        Broken: the private folder for the socket cannot be used.
    """
    socket = locations.socket_path()
    relay_token.hand_over()
    health = _health(socket)
    if health is not None and not _outdated(health):
        return socket
    if health is not None:
        transport = httpx.HTTPTransport(uds=str(socket))
        # it may be ending already
        with contextlib.suppress(httpx.HTTPError), httpx.Client(transport=transport, timeout=10) as http:
            http.post("http://keeper/hand-over")
    placed = locations.placement_file() is not None
    log = locations.doorway_log_path() if placed else locations.keeper_log_path()
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + START_TIMEOUT_S
    started_at = 0.0
    while time.monotonic() < deadline:
        # A starter that lost the race, or met a keeper just about to end, tries again.
        if time.monotonic() - started_at > 5:
            started_at = time.monotonic()
            _spawn(log)
        health = _health(socket)
        if health is not None and not _outdated(health):
            return socket
        time.sleep(0.02)
    if health is not None:
        raise Unavailable(
            ProblemCode.keeper_outdated,
            f"A keeper of release {health.get('version')} runs and does not make room for this one, {__version__}.",
            hint=f"End it; its clusters go on: kill {health.get('pid')}",
        )
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else "(it wrote no log)"
    raise Unavailable(
        ProblemCode.keeper_unreachable,
        f"The keeper did not start within {START_TIMEOUT_S:.0f} s. Its log ends with:\n{tail}",
        hint=f"See {log}, or run: jupyter offload doctor",
    )


def _spawn(log: Path) -> None:
    what = "keeper" if locations.placement_file() is None else "doorway"
    with log.open("ab") as out:
        log.chmod(0o600)
        subprocess.run(
            [sys.executable, "-m", f"jupyter_offload.{what}", "--detach"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=clean_environment(), cwd="/", timeout=20, check=False,
        )  # fmt: skip
