"""Sites from files in Jupyter's configuration folders, and the backends that serve them. Blocking; run in a thread."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, entry_points, metadata
from pathlib import Path

from ..api.models import FieldProblem, SiteDefinition
from ..api.problems import BadInput, OffloadError
from ..ports import Backend
from . import local_site
from .site_files import SiteFile, read_site_file

log = logging.getLogger(__name__)

BACKENDS_GROUP = "jupyter_offload.backends"
#: For a source tree that was never installed and so has no entry points.
_BUILTIN_BACKENDS = {"local": "jupyter_offload.backends.local:LocalBackend"}
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Found:
    """One site as a source gave it: a definition, or the problems that keep it from being one."""

    name: str
    source: str
    definition: SiteDefinition | None = None
    problems: list[FieldProblem] = field(default_factory=list)
    file: SiteFile | None = None
    #: found by a backend, and not declared by itself
    discovered: bool = False

    def with_line(self, problem: FieldProblem) -> FieldProblem:
        """Return a problem of the definition with its line, where it came from a file."""
        return self.file.with_line(problem) if self.file is not None else problem


def read_folders(folders: Iterable[Path]) -> list[Found]:
    """Return what the site files say, the most specific folder first. Never raises."""
    return [site for folder in folders for site in _in_folder(folder)]


def by_name(found: Iterable[Found]) -> dict[str, Found]:
    """Return one site for each name, the first that was found; this machine first, the others by name."""
    sites: dict[str, Found] = {}
    for site in found:
        sites.setdefault(site.name, site)
    sites.setdefault(local_site.NAME, Found(local_site.NAME, "built in", local_site.definition()))
    return dict(sorted(sites.items(), key=lambda item: (item[0] != local_site.NAME, item[0])))


def _in_folder(folder: Path) -> Iterable[Found]:
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix in _SUFFIXES and not p.name.startswith("."))
    except FileNotFoundError:
        return
    except OSError as error:
        name = "unreadable-folder"
        hint = f"Make the folder readable: chmod a+rx {folder}"
        message = f"The folder cannot be read: {error.strerror}."
        yield Found(name, str(folder), problems=[FieldProblem(field=str(folder), message=message, hint=hint)])
        return
    for path in paths:
        file = read_site_file(path)
        yield Found(file.name, str(path), file.definition, file.problems, file)


def backend_names() -> list[str]:
    """Return the kinds of site that are installed."""
    return sorted({*_BUILTIN_BACKENDS, *(e.name for e in entry_points(group=BACKENDS_GROUP))})


def load_backend(definition: SiteDefinition) -> tuple[Backend | None, list[FieldProblem]]:
    """Return the backend of a site, or None and why there is none. Never raises."""
    kind = definition.backend
    try:
        backend_class = _backend_class(kind)
        if backend_class is None:
            hint = f"Installed kinds: {', '.join(backend_names())}."
            return None, [FieldProblem(field="backend", message=f"There is no backend {kind!r}.", hint=hint)]
        return backend_class(definition), []
    except BadInput as error:
        return None, error.errors or [
            FieldProblem(field=error.field or "options", message=error.message, hint=error.hint)
        ]
    except ModuleNotFoundError as error:
        message = f"The backend {kind!r} needs the module {error.name!r}, which is not installed."
        return None, [FieldProblem(field="backend", message=message, hint=_install_hint(kind, error.name))]
    except OffloadError as error:
        return None, [FieldProblem(field="backend", message=error.message, hint=error.hint)]
    except Exception as error:  # a plugin's own mistake
        log.warning("backend %s failed", kind, exc_info=True)
        message = f"The backend {kind!r} failed: {type(error).__name__}: {error}"
        return None, [
            FieldProblem(field="backend", message=message, hint="Repair or update the package it comes from.")
        ]


def backend_class_of(kind: str) -> type[Backend] | None:
    """Return the class that serves a kind of site, None where it is missing or broken (``load_backend`` says how)."""
    try:
        return _backend_class(kind)
    except Exception:  # whatever a plugin does when it is imported
        return None


def _install_hint(kind: str, module: str | None) -> str:
    try:
        extras = metadata("jupyter_offload").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        extras = []
    what = f'"jupyter_offload[{kind}]"' if kind in extras else f"<the package that has {module}>"
    return f"Install it beside the keeper: {sys.executable} -m pip install {what}"


def _backend_class(kind: str) -> type[Backend] | None:
    for entry_point in entry_points(group=BACKENDS_GROUP, name=kind):
        loaded: type[Backend] = entry_point.load()
        return loaded
    if kind not in _BUILTIN_BACKENDS:
        return None
    module, _, attribute = _BUILTIN_BACKENDS[kind].partition(":")
    builtin: type[Backend] = getattr(importlib.import_module(module), attribute)
    return builtin
