"""What this Python can know of where it runs: its Jupyter server, its notebook, its environment."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from jupyter_core.paths import jupyter_runtime_dir

from ..api.models import Environment
from ..api.routes import PREFIX


def server_base() -> str | None:
    """Return the base URL of the Jupyter server that this kernel belongs to, without a token, ending in ``/``.

    Under a Hub it is the path of the user's server, which the browser completes. None outside of a server's kernels.
    """
    hub = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if hub:
        return hub.rstrip("/") + "/"
    for pid in filter(None, (os.environ.get("JPY_PARENT_PID"), str(os.getppid()))):
        try:
            info = json.loads((Path(jupyter_runtime_dir()) / f"jpserver-{int(pid)}.json").read_text())
            url, base = urlsplit(str(info["url"])), str(info["base_url"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        # A server on a unix socket has no address a browser could open by itself; the path still holds behind its proxy.
        host = f"{url.scheme}://{url.netloc}" if url.scheme in ("http", "https") else ""
        return f"{host}/{base.strip('/')}".rstrip("/") + "/"
    return None


def dashboard_link(cluster_id: str, name: str) -> str:
    """Return the address of the dashboard's authenticated page, or the sentence how to open it."""
    base = server_base()
    if base is None:
        return f"In JupyterLab, open the panel Offload and choose Dashboard on the card {name}."
    return f"{base}{PREFIX}/clusters/{cluster_id}/dashboard/"


def notebook_name() -> str | None:
    """Return the name of this kernel's notebook as a cluster may be called, or None where it is not known."""
    path = os.environ.get("JPY_SESSION_NAME", "")
    if not path.endswith(".ipynb"):
        return None
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).stem).strip("._-")
    return words[:32].rstrip("._-") or None


def this_environment(known: Iterable[Environment]) -> str:
    """Return the kernelspec name of this Python where it has one, otherwise its path."""
    for environment in known:
        if _same_python(environment.python, sys.executable):
            return environment.name
    return sys.executable


def _same_python(one: str, other: str) -> bool:
    # Two virtual environments may be links to one binary: the folder tells them apart, the target whether it is Python.
    if os.path.normpath(one) == os.path.normpath(other):
        return True
    try:
        return Path(one).parent.samefile(Path(other).parent) and Path(one).samefile(other)
    except OSError:
        return False
