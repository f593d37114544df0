"""What earlier keepers left at sites: found by the label of this data folder, deleted until the site confirms it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from ..api import locations
from ..api.models import Finding, SweepReport, Swept
from ..api.problems import OffloadError
from ..ports import Backend, Capability, Owned
from .sites import SiteEntry

log = logging.getLogger(__name__)
#: Longest wait for one site, how often what is being deleted is asked for again, and for how long; seconds.
SITE_TIMEOUT_S = 10.0
_AGAIN_S, _PATIENCE_S = 1.0, 12.0
#: What is younger may be of a cluster whose record, written on another host, has not been read here yet.
_YOUNG_S = 60.0
_SWEPT = (
    "It was left by a keeper that was killed. Nothing to do; look again with: jupyter offload clusters sweep --dry-run"
)


@dataclass
class _Claim:
    site: str
    backend: Backend
    owned: Owned


async def sweep(
    sites: Iterable[SiteEntry], known: Callable[[], Awaitable[set[str]]], *, dry_run: bool = False
) -> SweepReport:
    """Delete what carries this data folder's label and belongs to no cluster that is looked after.

    Sites that cannot be asked are in the report. Whatever ``known`` raises is raised, and then nothing was deleted.

    Args:
        sites: to look at; those of this machine and those that are broken are left out.
        known: returns the ids of clusters that are not over and done with; asked after each look, so that a cluster
            that was made meanwhile is known.
        dry_run: only say what would be deleted.
    """
    looked = [e for e in sites if e.backend is not None and Capability.local_workers not in e.backend.capabilities]
    found = await asyncio.gather(*(_look(e) for e in looked))
    problems = [f for _, finding in found for f in finding]
    claims = _unknown([c for claims, _ in found for c in claims], await known())
    if dry_run:
        swept = [Swept(site=c.site, cluster=c.owned.cluster_id, what=c.owned.what, state="found") for c in claims]
        return SweepReport(swept=swept, problems=problems)
    states = await asyncio.gather(*(_delete(c) for c in claims))
    for claim, state in zip(claims, states, strict=True):
        log.warning(
            "swept at %s: %s of the unknown cluster %s: %s", claim.site, claim.owned.what, claim.owned.cluster_id, state
        )
    swept = [
        Swept.model_validate({"site": c.site, "cluster": c.owned.cluster_id, "what": c.owned.what, "state": state})
        for c, state in zip(claims, states, strict=True)
    ]
    return SweepReport(swept=swept, problems=problems)


def findings(report: SweepReport) -> list[Finding]:
    """Return what the doctor says of a sweep."""
    found = []
    for swept in report.swept:
        message = f"{swept.what} at site {swept.site} belonged to no cluster and was deleted."
        if swept.state != "deleted":
            message = f"{swept.what} at site {swept.site} belongs to no cluster; the site has not deleted it yet."
        found.append(Finding(check="leftovers", state="warning", message=message, hint=_SWEPT))
    return found


async def _look(entry: SiteEntry) -> tuple[list[_Claim], list[Finding]]:
    assert entry.backend is not None
    try:
        async with asyncio.timeout(SITE_TIMEOUT_S):
            owned = await entry.backend.find_owned(locations.owner_id())
    except Exception as error:  # also a plugin's own mistake: it must not keep the other sites from being swept
        told, hint = _why(error)
        finding = Finding(
            check=f"site {entry.name}: sweep", state="warning", message=f"What is left there cannot be seen: {told}",
            hint=hint or "It is looked for again later.",
        )  # fmt: skip
        return [], [finding]
    return [_Claim(entry.name, entry.backend, o) for o in owned], []


def _why(error: Exception) -> tuple[str, str | None]:
    if isinstance(error, OffloadError):
        return error.message, error.hint
    if isinstance(error, TimeoutError):
        return f"No answer within {SITE_TIMEOUT_S:.0f} s.", None
    log.warning("a backend failed", exc_info=error)
    return f"The backend failed: {type(error).__name__}: {error}", "The keeper's log has the details."


def _unknown(claims: list[_Claim], known: set[str]) -> list[_Claim]:
    """Return what nobody looks after, each thing once though several sites may show it."""
    now, seen, found = time.time(), set(), []
    for claim in claims:
        owned = claim.owned
        young = owned.made_at is not None and now - owned.made_at < _YOUNG_S
        key = (type(claim.backend), owned.cluster_id, owned.what)
        if owned.cluster_id not in known and not young and key not in seen:
            seen.add(key)
            found.append(claim)
    return found


async def _delete(claim: _Claim) -> str:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            async with asyncio.timeout(SITE_TIMEOUT_S):
                if await claim.backend.delete_owned(claim.owned):
                    return "deleted"
        except Exception as error:
            log.warning("%s at %s cannot be deleted now: %s", claim.owned.what, claim.site, _why(error)[0])
            return "deleting"
        if time.monotonic() > deadline:
            return "deleting"
        await asyncio.sleep(_AGAIN_S)
