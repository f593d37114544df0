"""What a kubelet asks of the API server."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import httpx

_TIMEOUT_S = 10
JSON = dict[str, Any]


class Api:
    """The API server of a control plane's folder, as its administrator."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "admin.kubeconfig").read_text())
        self.url: str = config["clusters"][0]["cluster"]["server"]
        self.ca = (folder / "ca.pem").read_text()
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(folder / "admin.pem")
        self._http = httpx.AsyncClient(base_url=self.url, verify=context, timeout=_TIMEOUT_S, trust_env=False)

    async def get(self, path: str, **parameters: str) -> JSON | None:
        """Return an object or a list; None where there is no such thing."""
        answer = await self._http.get(path, params=parameters)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return _json(answer)

    async def create(self, path: str, body: JSON) -> JSON | None:
        """Return what was created; None where it is there already."""
        answer = await self._http.post(path, json=body)
        return None if answer.status_code == httpx.codes.CONFLICT else _json(answer)

    async def patch_status(self, path: str, status: JSON) -> bool:
        """Write an object's status (lists replace lists); False where the object is gone."""
        headers = {"Content-Type": "application/merge-patch+json"}
        answer = await self._http.patch(f"{path}/status", json={"status": status}, headers=headers)
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            return False
        _json(answer)
        return True

    async def delete_now(self, path: str, uid: str) -> None:
        """Remove an object for good, if it is still this one."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        answer = await self._http.request("DELETE", path, json=body)
        if answer.status_code not in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            _json(answer)


def _json(answer: httpx.Response) -> JSON:
    if answer.is_error:
        raise httpx.HTTPStatusError(
            f"{answer.status_code}: {answer.text[:500]}", request=answer.request, response=answer
        )
    content: JSON = answer.json()
    return content
