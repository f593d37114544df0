"""What the notebook API returns besides clusters: lists that read well in a notebook and on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import SupportsIndex, overload

from ..api import text
from ..api.models import Site, TimelineEntry
from ..api.problems import NotFound, ProblemCode
from . import html

_SITE_HEADING = ("SITE", "TITLE", "HEALTH", "HEARD", "ACCELERATORS FREE", "PROFILES (* default)")


class Sites(list[Site]):
    """All sites; ``sites["local"]`` finds one by name."""

    @overload
    def __getitem__(self, key: str, /) -> Site: ...
    @overload
    def __getitem__(self, key: SupportsIndex, /) -> Site: ...
    @overload
    def __getitem__(self, key: slice, /) -> list[Site]: ...
    def __getitem__(self, key: SupportsIndex | slice | str, /) -> Site | list[Site]:
        """Return a site by position or by name.

        Raises:
            NotFound: no site has that name; the hint lists those there are.
        """
        if not isinstance(key, str):
            return super().__getitem__(key)
        for site in self:
            if site.name == key:
                return site
        raise NotFound(
            ProblemCode.unknown_site, f"There is no site {key!r}.", field="site",
            hint=f"There are: {', '.join(s.name for s in self) or 'none'}.",
        )  # fmt: skip

    def _rows(self) -> list[tuple[str, ...]]:
        now = datetime.now(UTC)
        return [
            (s.name, s.title or s.name, _health(s), text.heard(s, now), text.accelerators(s), text.profiles(s))
            for s in self
        ]

    def __repr__(self) -> str:
        return text.columns([_SITE_HEADING, *self._rows()]) if self else "no sites"

    def _repr_html_(self) -> str:
        return html.table([word.capitalize() for word in _SITE_HEADING], self._rows(), "Sites")


def _health(site: Site) -> str:
    message = " ".join([site.health.message, *text.site_notes(site)]).strip()
    return f"{site.health.state.value}: {message}" if message else site.health.state.value


class Log(str):
    """The text of one log."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html.logs({"log": self})


class Logs(dict[str, Log]):
    """Logs by source: the scheduler, its supervisor, and each worker, also those that are gone."""

    def __repr__(self) -> str:
        return "\n".join(f"==> {name} <==\n{content}" for name, content in self.items())

    def _repr_html_(self) -> str:
        return html.logs(self)


class TimelineEntries(list[TimelineEntry]):
    """What happened to a cluster and why, oldest first."""

    def __init__(self, entries: Sequence[TimelineEntry] = ()) -> None:
        super().__init__(entries)

    def __repr__(self) -> str:
        if not self:
            return "nothing happened yet"
        rows = [(html.clock(e), html.since(e, self[0]), e.level, e.worker or "-", e.message) for e in self]
        return text.columns([("TIME", "AFTER", "LEVEL", "WORKER", "WHAT HAPPENED"), *rows])

    def _repr_html_(self) -> str:
        return html.timeline(self)
