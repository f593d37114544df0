"""What people configured for dask-labextension, said as the site that does the same here."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import yaml
from jupyter_core.paths import jupyter_config_dir

from ..api.models import Finding
from ..api.start import clean_environment
from ..api.units import format_bytes
from .site_sources import backend_names

CHECK = "dask-labextension"
TIMEOUT_S = 20.0
_GIB = 2**30
_JOBQUEUE = {
    "SLURMCluster": "slurm", "HTCondorCluster": "htcondor", "PBSCluster": "pbs", "LSFCluster": "lsf",
    "SGECluster": "sge", "OARCluster": "oar",
}  # fmt: skip
#: Prints one part of Dask's configuration. In a process of its own, since Dask in the keeper would stay there for ever.
_PRINT = """
import json, sys
import dask.config
json.dump(dask.config.get(sys.argv[1], {}), sys.stdout, default=str)
"""


async def dask_config(part: str) -> dict[str, Any]:
    """Return a part of Dask's configuration as this user's files and variables make it; empty where there is none."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PRINT, part, env=clean_environment(), cwd="/",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"Dask's configuration cannot be read: {err.decode(errors='replace').strip()[-300:]}")
    found = json.loads(out)
    return found if isinstance(found, dict) else {}


def migration(config: Mapping[str, Any]) -> list[Finding]:
    """Return what a ``labextension`` part of Dask's configuration amounts to here; nothing to say where there is none."""
    factory = config.get("factory") or {}
    if not factory.get("class"):
        return []
    name, site = equivalent_site(factory, config.get("default") or {})
    path = f"{jupyter_config_dir()}/offload/sites/{name}.yaml"
    text = yaml.safe_dump(site, sort_keys=False)
    backend = site["backend"]
    missing = "" if backend in backend_names() else f" The backend {backend!r} is not installed here yet."
    message = (
        f"dask-labextension is configured to start {factory.get('module')}.{factory['class']}; this is not used here."
    )
    if config.get("initial"):
        message += " Its 'initial' clusters are not started either: clusters here outlive the server instead."
    hint = f"The same as a site, to be written to {path}:\n{text}{missing}".rstrip()
    return [Finding(check=CHECK, state="warning", message=message, hint=hint)]


def equivalent_site(factory: Mapping[str, Any], default: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return name and definition of the site that does what a ``labextension.factory`` did."""
    kwargs = {str(k): v for k, v in (factory.get("kwargs") or {}).items()}
    kind = str(factory["class"])
    if kind in _JOBQUEUE:
        return _batch(_JOBQUEUE[kind], kwargs, default)
    if kind == "KubeCluster":
        options: dict[str, Any] = {k: kwargs[k] for k in ("namespace", "image") if k in kwargs}
        resources = (kwargs.get("resources") or {}).get("limits", {})
        profile = _profile(resources.get("cpu"), resources.get("memory"), default, {})
        return "kubernetes", _site("kubernetes", "Kubernetes", "kubernetes", profile, options)
    profile = _profile(kwargs.get("threads_per_worker"), kwargs.get("memory_limit"), default, kwargs)
    return "local", _site("local", "This machine", "local", profile, {})


def _batch(system: str, kwargs: Mapping[str, Any], default: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    carried = ("queue", "account", "project", "job_extra_directives", "job_script_prologue", "interface")
    options = {"system": system} | {k: kwargs[k] for k in carried if k in kwargs}
    profile = _profile(kwargs.get("cores"), kwargs.get("memory"), default, kwargs)
    return system, _site(system, system.upper(), "jobqueue", profile, options)


def _site(name: str, title: str, backend: str, profile: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    site = {"name": name, "title": title, "backend": backend, "profiles": [profile]}
    return site | ({"options": options} if options else {})


def _profile(cores: Any, memory: Any, default: Mapping[str, Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    profile: dict[str, Any] = {"name": "default", "cores": _cores(cores), "memory_bytes": _memory(memory)}
    adapt = default.get("adapt") or {}
    most = adapt.get("maximum") or default.get("workers") or kwargs.get("n_workers")
    if isinstance(most, int) and most > 0:
        profile["maximum_workers"] = most
    if isinstance(kwargs.get("walltime"), str):
        profile["walltime_s"] = _walltime_s(kwargs["walltime"])
    return profile


def _cores(value: Any) -> int:
    try:
        return max(1, int(float(value)))
    except (TypeError, ValueError):
        return 1


def _memory(value: Any) -> str:
    """Return an amount that a site file takes; Dask also knows 'auto' and fractions of the machine, which are not amounts."""
    if isinstance(value, int) and value > 1:
        return format_bytes(value)
    if isinstance(value, str) and value[:1].isdigit():
        return value.replace(" ", "")
    return format_bytes(4 * _GIB)


def _walltime_s(text: str) -> int:
    """Return seconds from ``HH:MM:SS`` or ``D-HH:MM:SS``."""
    days, _, clock = text.rpartition("-")
    seconds = 0
    for part in clock.split(":"):
        seconds = seconds * 60 + int(part if part.isdigit() else 0)
    return seconds + 86400 * int(days if days.isdigit() else 0)
