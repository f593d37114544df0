"""``jupyter offload clusters new``."""

from __future__ import annotations

import argparse
import os
from typing import Any

from ..api import asking, text
from ..api.client import AsyncKeeperClient
from ..api.following import usable, wait_until
from ..api.models import ClusterSpec, Preview
from . import OK
from .clusters import print_cluster
from .output import Output


async def new(client: AsyncKeeperClient, output: Output, arguments: argparse.Namespace) -> int:
    """Make a cluster; wait for it unless told not to."""
    spec = asking.validated(ClusterSpec, _values(arguments))
    timeout_s = asking.seconds(arguments.timeout, "timeout")
    if arguments.dry_run:
        return await _dry_run(client, output, spec)
    cluster = await asking.create(client, spec)
    if not arguments.wait:
        if output.as_json:
            output.model(cluster)
        else:
            output.line(f"{cluster.name} ({cluster.id}): {cluster.phase.value}. {cluster.reason.message}")
        return OK
    try:
        cluster = await wait_until(client, cluster.id, usable, timeout_s=timeout_s, report=output.progress)
    except BaseException:
        output.note(f"Cluster {spec.name} is kept; see: jupyter offload clusters show {spec.name}")
        raise
    if output.as_json:
        output.model(cluster)
    else:
        print_cluster(output, cluster)
    return OK


def _values(arguments: argparse.Namespace) -> dict[str, Any]:
    adaptive = arguments.adaptive
    workers = arguments.workers
    if workers is None and adaptive is not None:
        workers = adaptive[0]
    environment = arguments.environment
    if environment is not None and os.sep in environment:
        environment = os.path.abspath(environment)  # noqa: PTH100  (a link to a Python must stay that link)
    values = {
        "name": arguments.name,
        "site": arguments.site,
        "profile": arguments.profile,
        "workers": workers,
        "adaptive": None if adaptive is None else {"minimum": adaptive[0], "maximum": adaptive[1]},
        "cores": arguments.cores,
        "memory_bytes": arguments.memory,
        "environment": environment,
        "image": arguments.image,
        "idle_timeout_s": arguments.idle_timeout,
        "lifetime_s": arguments.lifetime,
        "env": dict(arguments.env) or None,
        "modules": arguments.modules or None,
    }
    return {field: value for field, value in values.items() if value is not None}


async def _dry_run(client: AsyncKeeperClient, output: Output, spec: ClusterSpec) -> int:
    preview = await client.call("previewCluster", Preview, body=spec)
    if output.as_json:
        output.model(preview)
        return OK
    output.line(preview.text.rstrip())
    output.line(f"\nprofile {preview.profile.name}: {text.worker_size(preview.profile)} per worker")
    for warning in preview.warnings:
        output.note(f"Note: {warning}")
    return OK
