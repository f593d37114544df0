"""Readiness probes, as a kubelet makes them: by HTTP, by a connection, or by a command in the container's view."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx

from .api import JSON
from .container import View, begin

_PERIOD_S, _TIMEOUT_S = 1.0, 5.0


async def probe(spec: JSON, container: JSON, address: str, view: View, folder: Path) -> bool:
    """Make one readiness probe of a container whose pod has this address; True if it is passed."""
    timeout_s = min(spec.get("timeoutSeconds") or 1, _TIMEOUT_S)
    with contextlib.suppress(OSError, httpx.TransportError, TimeoutError):
        if "httpGet" in spec:
            return await _get(spec["httpGet"], container, address, timeout_s)
        if "tcpSocket" in spec:
            port = _port(spec["tcpSocket"]["port"], container)
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), timeout_s)
            writer.close()
            return True
        if "exec" in spec:
            process = await begin(folder / "probe", spec["exec"]["command"], view, asyncio.subprocess.DEVNULL)
            return await asyncio.wait_for(process.wait(), _TIMEOUT_S) == 0
    return False


async def _get(spec: JSON, container: JSON, address: str, timeout_s: float) -> bool:
    scheme = spec.get("scheme", "HTTP").lower()
    url = f"{scheme}://{address}:{_port(spec['port'], container)}{spec.get('path', '/')}"
    headers = {each["name"]: each["value"] for each in spec.get("httpHeaders", [])}
    async with httpx.AsyncClient(timeout=timeout_s, verify=False, trust_env=False) as http:
        answer = await http.get(url, headers=headers)
    return 200 <= answer.status_code < 400


def _port(port: int | str, container: JSON) -> int:
    """Return a port's number; one may be named."""
    if isinstance(port, int):
        return port
    return next(int(each["containerPort"]) for each in container["ports"] if each.get("name") == port)


def period_s(spec: JSON) -> float:
    """Return the time between two probes; a kubelet's would be long for a test."""
    return min(float(spec.get("periodSeconds") or _PERIOD_S), _PERIOD_S)
