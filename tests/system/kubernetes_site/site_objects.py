"""Definitions of sites and kubeconfigs for these tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from jupyter_offload.api.models import SiteDefinition
from jupyter_offload.backends.kubernetes.site_side import SiteSide

MakeSite = Callable[..., Awaitable[SiteSide]]

SMALL = {"name": "small", "cores": 1, "memory_bytes": "1 GiB"}
IMAGES = [{"name": "analysis", "image": "facility/analysis:2026.11"}]


def definition(**changes: Any) -> SiteDefinition:
    """Return a site definition; ``options`` by keyword, or other fields of it."""
    fields = {k: changes.pop(k) for k in ("name", "title", "profiles", "images") if k in changes}
    return SiteDefinition.model_validate(
        {"name": "there", "backend": "kubernetes", "profiles": [SMALL], "images": IMAGES, "options": changes} | fields
    )


def with_user(kubeconfig: Path, to: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None) -> Path:
    """Write a copy of a kubeconfig for another user."""
    document = json.loads(kubeconfig.read_text())
    document["users"][0]["user"] = user
    document["clusters"][0]["cluster"] |= cluster or {}
    to.touch(mode=0o600)
    to.write_text(json.dumps(document))
    return to


def token_of(kubeconfig: Path) -> str:
    """Return the token in a kubeconfig."""
    return str(json.loads(kubeconfig.read_text())["users"][0]["user"]["token"])


async def until(what: Callable[[], Awaitable[Any]], timeout_s: float = 120) -> Any:
    """Look until something is true, and return it."""
    async with asyncio.timeout(timeout_s):
        while not (found := await what()):
            await asyncio.sleep(0.5)
        return found
