"""How to reach the API server of a folder."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import httpx

_TIMEOUT_S = 30


def connect(folder: Path, token: str | None = None) -> httpx.Client:
    """Return a client of the API server in a folder: the administrator, or who has this token; nobody, if it is empty."""
    config = json.loads((folder / "admin.kubeconfig").read_text())
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    headers = {}
    if token is None:
        context.load_cert_chain(folder / "admin.pem")
    elif token:
        headers["Authorization"] = f"Bearer {token}"
    url = config["clusters"][0]["cluster"]["server"]
    return httpx.Client(base_url=url, verify=context, headers=headers, timeout=_TIMEOUT_S, trust_env=False)
