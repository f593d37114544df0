"""What the doctor looks at in Jupyter: packages and their versions, both extensions. Reads files only. Blocking."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_config_path, jupyter_path
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from .. import __version__
from ..api.models import Finding

_PYTHON = shlex.quote(sys.executable)
_PACKAGE = "jupyter_offload"
_EXTENSION = "jupyter-offload"


def packages() -> Iterator[Finding]:
    """This package and everything it requires, in versions it supports."""
    try:
        wanted = requires(_PACKAGE) or []
        supported = distribution(_PACKAGE).metadata["Requires-Python"]
    except PackageNotFoundError:
        message = "jupyter_offload runs from a source tree that was never installed."
        yield Finding(
            check="packages", state="warning", message=message, hint=f"Install it: {_PYTHON} -m pip install ."
        )
        return
    wrong = [w for w in map(_unmet, map(Requirement, wanted)) if w is not None]
    yield from wrong
    version = ".".join(map(str, sys.version_info[:3]))
    if version not in SpecifierSet(supported):
        message = f"Python {version} is outside of what this release supports ({supported})."
        yield Finding(check="packages", state="warning", message=message, hint="Install it in a Python of that range.")
    elif not wrong:
        yield Finding(
            check="packages", state="ok", message=f"jupyter_offload {__version__}, Python {version}, {_dask()}."
        )


def _dask() -> str:
    return f"dask {distribution('dask').version}, distributed {distribution('distributed').version}"


def _unmet(requirement: Requirement) -> Finding | None:
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    hint = f"Install it: {_PYTHON} -m pip install {shlex.quote(str(requirement).split(';')[0].strip())}"
    try:
        version = distribution(requirement.name).version
    except PackageNotFoundError:
        return Finding(check="packages", state="error", message=f"{requirement.name} is missing.", hint=hint)
    if requirement.specifier.contains(version, prereleases=True):
        return None
    message = f"{requirement.name} {version} is not supported, this release needs {requirement.specifier}."
    return Finding(check="packages", state="error", message=message, hint=hint)


def _json(path: Path) -> dict[str, Any]:
    """Return a JSON file's object, empty where there is none.

    Raises:
        ValueError: the file is not JSON.
    """
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return data if isinstance(data, dict) else {}


def server_extension() -> Iterator[Finding]:
    """Whether the Jupyter server loads our part: the most specific of its configuration files that names it decides."""
    check = "server-extension"
    enable = f"Enable it: {_PYTHON} -m jupyter server extension enable {_PACKAGE}"
    for folder in map(Path, jupyter_config_path()):
        # within one folder the files of .d come later and so win
        files = [
            *sorted((folder / "jupyter_server_config.d").glob("*.json"), reverse=True),
            folder / "jupyter_server_config.json",
        ]
        for file in files:
            try:
                said = _json(file).get("ServerApp", {}).get("jpserver_extensions", {}).get(_PACKAGE)
            except (ValueError, AttributeError) as error:
                yield Finding(check=check, state="error", message=str(error), hint=f"Repair or remove {file}")
                continue
            if said is True:
                yield Finding(check=check, state="ok", message=f"Enabled by {file}.")
                return
            if said is False:
                yield Finding(check=check, state="error", message=f"Disabled by {file}.", hint=enable)
                return
    yield Finding(check=check, state="error", message="No configuration file of Jupyter enables it.", hint=enable)


def lab_extension() -> Iterator[Finding]:
    """Whether JupyterLab finds our panel, in this release, and nobody disabled it."""
    check = "lab-extension"
    folders = [Path(p) / _EXTENSION for p in jupyter_path("labextensions")]
    folder = next((f for f in folders if (f / "package.json").is_file()), None)
    install = f"Install it again: {_PYTHON} -m pip install --force-reinstall --no-deps jupyter_offload"
    if folder is None:
        message = f"There is no Lab extension {_EXTENSION} in {', '.join(str(f.parent) for f in folders)}."
        yield Finding(check=check, state="error", message=message, hint=install)
        return
    try:
        version = str(_json(folder / "package.json").get("version", ""))
        disabled = next((file for file in _page_configs() if _disables(_json(file))), None)
    except ValueError as error:
        yield Finding(check=check, state="error", message=str(error), hint="Repair or remove that file.")
        return
    if disabled is not None:
        hint = f"Enable it: {_PYTHON} -m jupyter labextension enable {_EXTENSION}"
        yield Finding(check=check, state="error", message=f"Disabled by {disabled}.", hint=hint)
    elif version.split("-")[0] != __version__.split("+")[0] and not __version__.startswith("0+"):
        message = f"The Lab extension in {folder} is of release {version}, the package of {__version__}."
        yield Finding(check=check, state="warning", message=message, hint=f"{install}; then reload the browser tab.")
    else:
        yield Finding(check=check, state="ok", message=f"Release {version} in {folder}.")


def _page_configs() -> list[Path]:
    folders = [Path(p) / "labconfig" for p in jupyter_config_path()] + [
        Path(p) / "settings" for p in jupyter_path("lab")
    ]
    return [file for f in folders for file in (f / "page_config.json", *sorted((f / "page_config.d").glob("*.json")))]


def _disables(config: dict[str, Any]) -> bool:
    """``disabledExtensions`` is a mapping of names to truth, or in old files a list; names may be of single plugins."""
    disabled = config.get("disabledExtensions", {})
    names = [n for n, yes in disabled.items() if yes] if isinstance(disabled, dict) else disabled
    return any(str(name).partition(":")[0] == _EXTENSION for name in names)
