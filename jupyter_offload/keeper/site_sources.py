"""Where sites come from: files in Jupyter's configuration folders, plugins, and this machine. Blocking; run in a thread."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..api.models import FieldProblem, SiteDefinition
from ..api.problems import BadInput, OffloadError
from ..ports import Backend
from . import local_site
from .site_files import SiteFile, read_site_file

log = logging.getLogger(__name__)

SITES_GROUP = "jupyter_offload.sites"
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

    def with_line(self, problem: FieldProblem) -> FieldProblem:
        """Return a problem of the definition with its line, where it came from a file."""
        return self.file.with_line(problem) if self.file is not None else problem


def read_sources(folders: Iterable[Path], *, plugins: bool) -> dict[str, Found]:
    """Return all sites by name: ``local`` first, then by name. Never raises."""
    found: dict[str, Found] = {}
    for folder in folders:
        for site in _in_folder(folder):
            found.setdefault(site.name, site)
    if plugins:
        for entry_point in entry_points(group=SITES_GROUP):
            for site in _from_plugin(entry_point):
                found.setdefault(site.name, site)
    found.setdefault(local_site.NAME, Found(local_site.NAME, "built in", local_site.definition()))
    return dict(sorted(found.items(), key=lambda item: (item[0] != local_site.NAME, item[0])))


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
        definition = file.definition
        if definition is not None and definition.backend == "local":
            definition = local_site.with_limits_of_this_machine(definition)
        yield Found(file.name, str(path), definition, file.problems, file)


def _from_plugin(entry_point: EntryPoint) -> Iterable[Found]:
    """Yield what a plugin gives: a definition, a mapping or the path of a site file, one or many, or a function of these."""
    source = f"plugin {entry_point.name} ({entry_point.value})"
    try:
        given = entry_point.load()
        if callable(given) and not isinstance(given, SiteDefinition):
            given = given()
        many = given if isinstance(given, list | tuple) else [given]
        sites = [_from_value(value, entry_point.name, source) for value in many]
    except Exception as error:  # whatever a plugin does wrong, it stops nothing
        log.warning("%s failed", source, exc_info=True)
        message = f"The plugin failed: {type(error).__name__}: {error}"
        hint = f"Repair or remove the package that provides {entry_point.value}."
        problem = FieldProblem(field=entry_point.name, message=message, hint=hint)
        sites = [Found(entry_point.name, source, problems=[problem])]
    yield from sites


def _from_value(value: Any, name: str, source: str) -> Found:
    if isinstance(value, SiteDefinition):
        return Found(value.name, source, value)
    if isinstance(value, str | Path):
        file = read_site_file(Path(value))
        return Found(file.name, f"{source}: {file.path}", file.definition, file.problems, file)
    if not isinstance(value, Mapping):
        raise TypeError(f"gave {type(value).__name__} and not a SiteDefinition, a mapping or the path of a site file")
    data = {"name": name, **value}
    try:
        definition = SiteDefinition.model_validate(data)
    except ValidationError as error:
        problems = [FieldProblem(field=".".join(map(str, e["loc"])) or name, message=e["msg"]) for e in error.errors()]
        return Found(str(data["name"]), source, problems=problems)
    return Found(definition.name, source, definition)


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
        message = f"The backend {kind!r} needs the package {error.name!r}, which is not installed."
        hint = f'Install it beside the keeper: pip install "jupyter_offload[{kind}]"'
        return None, [FieldProblem(field="backend", message=message, hint=hint)]
    except OffloadError as error:
        return None, [FieldProblem(field="backend", message=error.message, hint=error.hint)]
    except Exception as error:  # a plugin's own mistake
        log.warning("backend %s failed", kind, exc_info=True)
        message = f"The backend {kind!r} failed: {type(error).__name__}: {error}"
        return None, [
            FieldProblem(field="backend", message=message, hint="Repair or update the package it comes from.")
        ]


def _backend_class(kind: str) -> type[Backend] | None:
    for entry_point in entry_points(group=BACKENDS_GROUP, name=kind):
        loaded: type[Backend] = entry_point.load()
        return loaded
    if kind not in _BUILTIN_BACKENDS:
        return None
    module, _, attribute = _BUILTIN_BACKENDS[kind].partition(":")
    builtin: type[Backend] = getattr(importlib.import_module(module), attribute)
    return builtin
