"""``jupyter offload clusters sweep``."""

from __future__ import annotations

import argparse

from ..api.client import AsyncKeeperClient
from ..api.models import SweepReport
from . import FAILED, OK
from .output import Output


async def sweep(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Delete what is left at sites and belongs to no cluster; status 1 if a site could not be asked or something stays."""
    report = await client.call("sweep", SweepReport, dry_run=arguments.dry_run or None, site=arguments.site)
    if output.as_json:
        output.model(report)
    else:
        rows = [(s.site, s.state, s.what, s.cluster) for s in report.swept]
        output.table(("SITE", "STATE", "WHAT", "CLUSTER"), rows, if_empty="Nothing is left at any site.")
        for finding in report.problems:
            output.line(f"{finding.check}: {finding.message} {finding.hint or ''}".rstrip())
    stays = any(s.state == "deleting" for s in report.swept)
    return FAILED if report.problems or stays else OK
