"""What this server's own pod is, for the keeper's pod to be like it."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_config_path

from ..api import locations
from ..api.problems import Forbidden, NotFound, ProblemCode, Unavailable
from ..backends.kubernetes.account import SERVICE_ACCOUNT
from ..backends.kubernetes.api import KubeApi
from .pod import Here

#: What says where things are; nothing else of the session's environment is shown to the API server.
_VARIABLES = (
    "HOME", "USER", "LOGNAME", "NB_USER", "LANG", "LC_ALL", "TZ", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "JUPYTER_DATA_DIR",
    "JUPYTER_CONFIG_DIR", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "JUPYTER_PREFER_ENV_PATH", "JUPYTER_PLATFORM_DIRS",
)  # fmt: skip


def in_a_pod() -> bool:
    """Return whether this is a pod with an account."""
    return (SERVICE_ACCOUNT / "token").exists()


async def find(api: KubeApi, *, needed: bool) -> Here:
    """Return what the keeper's pod is to have in common with this server.

    Args:
        api: where its pod is, if it has one.
        needed: whether the settings leave something to that pod.

    Raises:
        Unavailable: it is needed and cannot be read.
    """
    host = platform.node()
    own: dict[str, Any] | None = None
    if needed and in_a_pod():
        namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip()
        try:
            own = await api.request("GET", f"/api/v1/namespaces/{namespace}/pods/{host}")
        except NotFound as error:
            raise Unavailable(
                ProblemCode.keeper_unreachable, f"This server's own pod is not found by its host name {host!r}.",
                field="image", hint="Write image, volumes and mounts into placement.yaml.",
            ) from error  # fmt: skip
        except Forbidden as error:
            raise Unavailable(error.code, error.message, hint=error.hint) from error
    environment = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    configuration = [str(Path(p) / "offload") for p in jupyter_config_path()]
    return Here(
        owner=locations.owner_id(), uid=os.getuid(), gid=os.getgid(), python=sys.executable,
        paths=[str(Path.home()), str(locations.data_folder()), *configuration],
        environment={"HOME": str(Path.home()), **environment}, pod=own, host=host,
    )  # fmt: skip
