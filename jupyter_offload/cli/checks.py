"""``jupyter offload doctor`` and ``version``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .. import __version__
from ..api.client import AsyncKeeperClient
from ..api.models import Finding, Findings
from ..api.routes import API_VERSION
from . import FAILED, OK
from .output import Output


def print_findings(output: Output, findings: Sequence[tuple[str, Finding]]) -> None:
    """Print what was looked at, and the remedies below."""
    rows = [(f.state, where, f.check, f.message) for where, f in findings]
    output.table(("STATE", "WHERE", "CHECK", "FOUND"), rows, if_empty="Nothing was looked at.")
    for where, finding in findings:
        if finding.hint and finding.state != "ok":
            output.line(f"{where}, {finding.check}: {finding.hint}")


async def doctor(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Check the installation, or a site with one worker; status 1 if anything is an error."""
    if arguments.canary is not None:
        from .canary import canary

        return await canary(client, output, arguments)
    answer = await client.call("doctor", Findings)
    if output.as_json:
        output.model(answer)
    else:
        print_findings(output, [("installation", finding) for finding in answer.findings])
    return FAILED if any(f.state == "error" for f in answer.findings) else OK


async def version(_client: AsyncKeeperClient, output: Output, _: argparse.Namespace) -> int:
    """Print the release and the version of the API it speaks; starts nothing."""
    if output.as_json:
        output.model({"version": __version__, "api": API_VERSION})
    else:
        output.line(f"jupyter-offload {__version__} (API {API_VERSION})")
    return OK
