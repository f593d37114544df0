"""Definitions that stand for several sites, such as every virtual node of a cluster: looked at in the background, never waited for long.

A look that fails changes nothing: the sites found before stay, and each of them says itself how it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..api.models import FieldProblem, SiteDefinition
from ..api.problems import OffloadError
from ..ports import Backend
from .site_sources import Found, backend_class_of

log = logging.getLogger(__name__)
#: How long what was found counts as now, how long the first look is waited for, and how long any may take; seconds.
FRESH_S = 10.0
FIRST_WAIT_S = 2.0
TIMEOUT_S = 20.0


@dataclass
class _Look:
    """What was found of one definition. ``sites`` is None until a look succeeded, or for a definition that is a site itself."""

    definition: SiteDefinition
    sites: Sequence[SiteDefinition] | None = None
    is_site: bool = False
    problem: OffloadError | TimeoutError | None = None
    at: float = 0.0
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Discovery:
    """Looks for sites.

    Args:
        changed: called when a look in the background found something else than the one before.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._looks: dict[str, _Look] = {}

    async def expand(self, found: Iterable[Found]) -> list[Found]:
        """Return sites: those that are declared as they are, then those that were discovered. Never raises."""
        declared: list[Found] = []
        discovered: list[Found] = []
        for one in found:
            look = await self._look(one)
            if look is None or look.is_site:
                declared.append(one)
            elif look.sites:
                discovered += [Found(s.name, f"{one.source}, discovered", s, discovered=True) for s in look.sites]
            else:
                declared.append(_nothing(one, look))
        return declared + discovered

    async def _look(self, found: Found) -> _Look | None:
        definition = found.definition
        if definition is None:
            return None
        backend = await asyncio.to_thread(backend_class_of, definition.backend)
        if backend is None or backend.discover.__func__ is Backend.discover.__func__:  # type: ignore[attr-defined]
            return None
        look = self._looks.get(found.name)
        if look is None or look.definition != definition:
            if look is not None and look.task is not None:
                look.task.cancel()
            look = self._looks[found.name] = _Look(definition)
        if look.task is None and not look.is_site and time.monotonic() - look.at > FRESH_S:
            look.task = asyncio.create_task(self._ask(look, backend))
        if look.at == 0 and look.task is not None:
            await asyncio.wait([look.task], timeout=FIRST_WAIT_S)
        return look

    async def _ask(self, look: _Look, backend: type[Backend]) -> None:
        before = look.sites
        first = look.at == 0
        try:
            async with asyncio.timeout(TIMEOUT_S):
                sites = await backend.discover(look.definition)
            look.sites, look.is_site, look.problem = sites, sites is None, None
        except (OffloadError, TimeoutError) as error:
            look.problem = error
            log.info("sites of %s cannot be seen: %s", look.definition.name, error)
        except Exception as error:  # a plugin's own mistake must not hide the other sites
            look.problem = TimeoutError(f"The backend failed: {type(error).__name__}: {error}")
            log.warning("discovery of %s failed", look.definition.name, exc_info=True)
        finally:
            look.at, look.task = time.monotonic(), None
        if not first and look.sites != before:
            self._changed()

    async def close(self) -> None:
        """Stop looking."""
        tasks = [look.task for look in self._looks.values() if look.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _nothing(found: Found, look: _Look) -> Found:
    """Return a definition that stands for no site, with why."""
    if look.problem is not None:
        hint = look.problem.hint if isinstance(look.problem, OffloadError) else None
        told = getattr(look.problem, "message", None) or str(look.problem) or f"No answer within {TIMEOUT_S:.0f} s."
    elif look.sites is None:
        told, hint = "Its sites are being looked for.", "Look again in a moment."
    else:
        told, hint = "No site was found there.", "Sites appear here once there are some, without another step."
    problem = FieldProblem(field="options.discover", message=told, hint=hint)
    return Found(found.name, found.source, problems=[problem])
