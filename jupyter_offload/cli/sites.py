"""``jupyter offload sites ...``."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from ..api import text
from ..api.client import AsyncKeeperClient
from ..api.models import Findings, Site, SiteList
from ..api.units import format_bytes
from . import FAILED, OK
from .checks import print_findings
from .output import Output


async def list_(client: AsyncKeeperClient, output: Output, _: argparse.Namespace) -> int:
    """Print all sites."""
    answer = await client.call("listSites", SiteList)
    if output.as_json:
        output.model(answer)
        return OK
    heading = (
        "SITE", "TITLE", "HEALTH", "HEARD", "CORES FREE", "MEMORY FREE", "ACCELERATORS FREE", "PROFILES (* default)",
    )  # fmt: skip
    now = datetime.now(UTC)
    output.table(heading, [_row(site, now) for site in answer.sites], if_empty="There are no sites.")
    for site in answer.sites:
        if site.health.message:
            hint = f" {site.health.hint}" if site.health.hint else ""
            output.line(f"{site.name}: {site.health.message}{hint}")
        for note in text.site_notes(site):
            output.line(f"{site.name}: {note}")
    return OK


def _row(site: Site, now: datetime) -> tuple[str, ...]:
    capacity = site.capacity
    return (
        site.name,
        site.title or site.name,
        site.health.state.value,
        text.heard(site, now),
        _of(capacity.cores_free, capacity.cores_total, str),
        _of(capacity.memory_free_bytes, capacity.memory_total_bytes, format_bytes),
        text.accelerators(site),
        text.profiles(site),
    )


def _of(free: int | None, total: int | None, show: type[str] | object) -> str:
    words = ["unknown" if n is None else (show(n) if callable(show) else str(n)) for n in (free, total)]
    return words[0] if total is None else f"{words[0]} of {words[1]}"


async def check(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Look at sites now; status 1 if anything is an error."""
    names = [arguments.site]
    if arguments.site is None:
        names = [site.name for site in (await client.call("listSites", SiteList)).sites]
    found = {name: await client.call("checkSite", Findings, site=name) for name in names}
    if output.as_json:
        output.model({"checks": [{"site": n} | f.model_dump(mode="json") for n, f in found.items()]})
    else:
        print_findings(output, [(name, finding) for name, each in found.items() for finding in each.findings])
    failed = any(f.state == "error" for each in found.values() for f in each.findings)
    return FAILED if failed else OK
