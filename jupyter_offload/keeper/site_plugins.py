"""Sites that installed packages bring (entry points ``jupyter_offload.sites``). One that hangs or fails stops nothing."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..api.models import FieldProblem, SiteDefinition
from .site_files import read_site_file
from .site_sources import Found

log = logging.getLogger(__name__)

SITES_GROUP = "jupyter_offload.sites"
#: Longest wait for one plugin to say which sites it has.
TIMEOUT_S = 10.0


class SitePlugins:
    """Asks every plugin for its sites, each in a thread of its own."""

    def __init__(self) -> None:
        self._running: dict[str, Future[list[Found]]] = {}

    async def read(self) -> list[Found]:
        """Return what all plugins give; one that does not answer in time gives a site that says so."""
        found = await asyncio.gather(*(self._one(e) for e in entry_points(group=SITES_GROUP)))
        return [site for sites in found for site in sites]

    async def _one(self, entry_point: EntryPoint) -> list[Found]:
        key = f"{entry_point.name}={entry_point.value}"
        late = self._running.get(key)  # still at it since the last time: do not wait, and start no second thread
        future = late or _in_daemon_thread(lambda: _ask(entry_point))
        self._running[key] = future
        try:
            wait_s = TIMEOUT_S if late is None else 0.05
            sites = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), wait_s)
        except TimeoutError:
            message = f"The plugin did not say which sites it has within {TIMEOUT_S:.0f} s."
            return [_failed(entry_point, message)]
        del self._running[key]
        return sites


def _in_daemon_thread(function: Callable[[], list[Found]]) -> Future[list[Found]]:
    """Run where a hanging plugin does not keep the keeper from ending, as the loop's own executor would."""
    future: Future[list[Found]] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="site-plugin", daemon=True).start()
    return future


def _source(entry_point: EntryPoint) -> str:
    return f"plugin {entry_point.name} ({entry_point.value})"


def _failed(entry_point: EntryPoint, message: str) -> Found:
    hint = f"Repair or remove the package that provides {entry_point.value}."
    problem = FieldProblem(field=entry_point.name, message=message, hint=hint)
    return Found(entry_point.name, _source(entry_point), problems=[problem])


def _ask(entry_point: EntryPoint) -> list[Found]:
    """Return what a plugin gives: a definition, a mapping or the path of a site file, one or many, or a function of these."""
    try:
        given = entry_point.load()
        if callable(given):
            given = given()
        many = given if isinstance(given, list | tuple) else [given]
        return [_from_value(value, entry_point) for value in many]
    except Exception as error:  # whatever a plugin does wrong, it stops nothing
        log.warning("%s failed", _source(entry_point), exc_info=True)
        return [_failed(entry_point, f"The plugin failed: {type(error).__name__}: {error}")]


def _from_value(value: Any, entry_point: EntryPoint) -> Found:
    source = _source(entry_point)
    if isinstance(value, SiteDefinition):
        return Found(value.name, source, value)
    if isinstance(value, str | Path):
        file = read_site_file(Path(value))
        return Found(file.name, f"{source}: {file.path}", file.definition, file.problems, file)
    if not isinstance(value, Mapping):
        raise TypeError(f"it gave {type(value).__name__}, not a SiteDefinition, a mapping or the path of a site file")
    data = {"name": entry_point.name, **value}
    try:
        definition = SiteDefinition.model_validate(data)
    except ValidationError as error:
        problems = [
            FieldProblem(field=".".join(map(str, e["loc"])) or "name", message=e["msg"]) for e in error.errors()
        ]
        return Found(str(data["name"]), source, problems=problems)
    return Found(definition.name, source, definition)
