"""``jupyter offload environments ...``."""

from __future__ import annotations

import argparse

from ..api.client import AsyncKeeperClient
from ..api.models import EnvironmentList
from . import OK
from .output import Output


async def list_(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Print all environments, and what the unusable ones lack."""
    refresh = "true" if arguments.refresh else None
    answer = await client.call("listEnvironments", EnvironmentList, refresh=refresh)
    if output.as_json:
        output.model(answer)
        return OK
    rows = [
        (
            f"{e.name}{' *' if e.default else ''}",
            e.title,
            "usable" if e.usable else "unusable",
            e.python_version or "unknown",
            ", ".join(f"{name} {version}" for name, version in e.versions.items()) or "-",
            e.python,
        )
        for e in answer.environments
    ]
    heading = ("ENVIRONMENT (* default)", "TITLE", "STATE", "PYTHON", "VERSIONS", "PATH")
    output.table(
        heading, rows, if_empty="There are no environments; install a kernel, for example: pip install ipykernel"
    )
    for environment in answer.environments:
        if environment.problem:
            output.line(f"{environment.name}: {environment.problem} {environment.hint or ''}".rstrip())
    return OK
