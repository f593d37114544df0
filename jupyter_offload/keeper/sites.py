"""Which sites there are: from site files, from plugins, and this machine. A broken one is shown and stops nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from ..api import locations
from ..api.models import Capacity, FieldProblem, Health, HealthState, Profile, Site, SiteDefinition
from ..api.problems import BadInput, NotFound, OffloadError, ProblemCode
from ..ports import Backend, Capability
from . import local_site
from .discovery import Discovery
from .resolve import resolve
from .site_plugins import SitePlugins
from .site_sources import Found, by_name, load_backend, read_folders

__all__ = ["SiteEntry", "SiteRegistry", "resolve"]

log = logging.getLogger(__name__)

#: Longest wait for a site's health and capacity, and for a backend that is replaced to let go.
TIMEOUT_S = 5.0
#: How long an answer about health and capacity counts as now.
FRESH_S = 3.0

T = TypeVar("T")


@dataclass
class SiteEntry:
    """One site. ``definition`` and ``backend`` are None for one that never worked.

    After a bad edit of its file a site keeps the last good definition and backend, for the clusters that run there, and has
    ``problems``: nothing new starts until they are mended.
    """

    name: str
    title: str
    definition: SiteDefinition | None = None
    backend: Backend | None = None
    problems: list[FieldProblem] = field(default_factory=list)
    #: path of the site file, name of the plugin, or "built in"
    source: str = "built in"
    #: found by a backend, and not declared by itself
    discovered: bool = False
    _described: tuple[float, Site] | None = field(default=None, repr=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def encrypted(self) -> bool:
        """Whether TLS protects what clients and workers there exchange."""
        return self.backend is None or Capability.unencrypted not in self.backend.capabilities

    def ready(self) -> tuple[SiteDefinition, Backend]:
        """Return definition and backend of a site that new clusters may use.

        Raises:
            BadInput: the site is broken (``site-unhealthy``); ``errors`` lists every mistake.
        """
        if self.definition is None or self.backend is None or self.problems:
            raise BadInput(
                ProblemCode.site_unhealthy,
                f"Site {self.name!r} cannot be used: {_counted(self.problems)} in {self.source}.",
                field="site",
                hint="See the errors, or run: jupyter offload sites check",
                errors=self.problems,
            )
        return self.definition, self.backend


_NOBODY = SiteEntry("", "", source="")


class SiteRegistry:
    """All sites, by name.

    A site file of the same name wins over a plugin, and both over the built-in ``local``; among folders the first wins.

    Args:
        folders: of site files, most specific first; by default those of Jupyter's configuration path.
        plugins: whether to load entry points of the group ``jupyter_offload.sites``.
    """

    def __init__(self, folders: Sequence[Path] | None = None, *, plugins: bool = True) -> None:
        self._folders = folders
        self._plugins = SitePlugins() if plugins else None
        self._entries: dict[str, SiteEntry] = {}
        self._refreshing = asyncio.Lock()
        self._discovery = Discovery(lambda: self.changed())
        #: Called when sites were discovered, or are gone.
        self.changed: Callable[[], None] = lambda: None
        #: Returns the names of sites where clusters are; those stay although they are discovered no more.
        self.in_use: Callable[[], set[str]] = set

    async def refresh(self) -> bool:
        """Read the sources again; True if any site came, went or changed. Never raises for a broken source."""
        async with self._refreshing:
            folders = locations.sites_folders() if self._folders is None else list(self._folders)
            given = await asyncio.to_thread(read_folders, folders)
            if self._plugins is not None:
                given += await self._plugins.read()
            found = by_name(await self._discovery.expand(given))
            entries = {name: await self._entry(f, self._entries.get(name, _NOBODY)) for name, f in found.items()}
            before, self._entries = self._entries, entries
            for name in self.in_use() & set(before) - set(entries):
                if before[name].discovered:
                    entries[name] = before[name]
            kept = {id(e.backend) for e in entries.values()}
            await _let_go(e.backend for e in before.values() if id(e.backend) not in kept)
            return list(before) != list(entries) or any(entries[n] is not before[n] for n in entries)

    async def _entry(self, found: Found, before: SiteEntry) -> SiteEntry:
        """Return the entry of a site; the very same one where nothing changed, so that its backend lives on."""
        definition, problems = found.definition, found.problems
        if definition is not None and definition.backend == local_site.NAME:
            definition = local_site.with_limits_of_this_machine(definition)
        same_source = before.source == found.source
        if same_source and not before.problems and before.definition == definition:
            return before
        backend: Backend | None = None
        if definition is not None:
            backend, problems = await asyncio.to_thread(load_backend, definition)
            problems = [found.with_line(p) for p in problems]
        if same_source and problems:
            if before.problems == problems:
                return before
            definition, backend = before.definition, before.backend
        title = (definition.title if definition is not None else "") or found.name
        return SiteEntry(found.name, title, definition, backend, problems, found.source, found.discovered)

    def get(self, name: str) -> SiteEntry:
        """Return a site, usable or not.

        Raises:
            NotFound: there is none of that name (``unknown-site``); the hint lists those there are.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound(
                ProblemCode.unknown_site,
                f"There is no site {name!r}.",
                field="site",
                hint=f"Sites here: {', '.join(self._entries) or 'none'}.",
            )
        return entry

    def all(self) -> list[SiteEntry]:
        """Return every site: this machine first, the others by name."""
        return list(self._entries.values())

    async def describe(self, entry: SiteEntry) -> Site:
        """Return a site as the user sees it, with health and capacity of now (at most 3 s old). Never raises."""
        async with entry._lock:
            if entry._described is not None and time.monotonic() - entry._described[0] < FRESH_S:
                return entry._described[1]
            site = await _describe(entry)
            entry._described = (time.monotonic(), site)
            return site

    async def close(self) -> None:
        """Let every backend release its connections; sites keep what they run."""
        await self._discovery.close()
        await _let_go(e.backend for e in self._entries.values())


async def _let_go(backends: Iterable[Backend | None]) -> None:
    await asyncio.gather(*(_close(b) for b in backends if b is not None))


async def _close(backend: Backend) -> None:
    try:
        await asyncio.wait_for(backend.close(), TIMEOUT_S)
    except Exception:
        log.warning("backend of site %s did not close", backend.site.name, exc_info=True)


def _counted(problems: Sequence[FieldProblem]) -> str:
    return "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"


async def _describe(entry: SiteEntry) -> Site:
    health, capacity = Health(state=HealthState.unhealthy), Capacity()
    unavailable: Mapping[str, str] = {}
    nothing: Mapping[str, str] = {}
    if entry.backend is not None:
        health, capacity, unavailable = await asyncio.gather(
            _ask_health(entry.backend.health),
            _ask(entry.name, entry.backend.capacity, Capacity()),
            _ask(entry.name, entry.backend.unavailable, nothing),
        )
    if entry.problems:
        health = _broken(entry)
    if health.checked_at is None:
        health = health.model_copy(update={"checked_at": datetime.now(UTC)})
    definition = entry.definition
    profiles: list[Profile] = definition.profiles if definition is not None else []
    return Site(
        name=entry.name,
        title=entry.title,
        description=definition.description if definition is not None else "",
        backend=definition.backend if definition is not None else "unknown",
        profiles=profiles,
        default_profile=(definition.default_profile or profiles[0].name) if definition is not None else None,
        images=definition.images if definition is not None else [],
        maximum_clusters=definition.maximum_clusters if definition is not None else 0,
        health=health,
        capacity=capacity,
        architectures=list(entry.backend.architectures()) if entry.backend is not None else [],
        unavailable=dict(unavailable),
        encrypted=entry.encrypted,
    )


def _broken(entry: SiteEntry) -> Health:
    listed = [f"{p.field}: {p.message} {p.hint or ''}".rstrip() for p in entry.problems]
    head = f"{_counted(entry.problems).capitalize()} in {entry.source}:"
    return Health(
        state=HealthState.unhealthy,
        message="\n".join([head, *listed]),
        hint="Mend it; it is read again when you look. Clusters that run there go on."
        if entry.backend is not None
        else "Mend it; it is read again when you look.",
    )


async def _ask_health(ask: Callable[[], Awaitable[Health]]) -> Health:
    try:
        return await asyncio.wait_for(ask(), TIMEOUT_S)
    except TimeoutError:
        return Health(
            state=HealthState.unknown,
            message=f"The site did not answer within {TIMEOUT_S:.0f} s.",
            hint="Nothing is known to be lost; look again in a moment.",
        )
    except OffloadError as error:
        state = HealthState.unknown if error.transient else HealthState.unhealthy
        return Health(state=state, message=error.message, hint=error.hint)
    except Exception as error:  # a plugin's own mistake
        log.warning("health of a site failed", exc_info=True)
        return Health(
            state=HealthState.unhealthy,
            message=f"The backend failed: {type(error).__name__}: {error}",
            hint="The keeper's log has the details.",
        )


async def _ask(name: str, ask: Callable[[], Awaitable[T]], otherwise: T) -> T:
    try:
        return await asyncio.wait_for(ask(), TIMEOUT_S)
    except Exception as error:  # unknown is shown as unknown; health says why
        log.info("%s of site %s is unknown: %s", getattr(ask, "__name__", "this"), name, error)
        return otherwise
