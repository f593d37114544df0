"""A pod's volumes as folders: secrets, config maps, the pod's own fields and token, empty folders, and paths of the host."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from .api import JSON, Api

_TOKEN_LIFETIME_S = 3600


class NotYet(Exception):
    """Something a pod needs is not there, as a kubelet says it; it may come."""


async def make_volumes(api: Api, pod: JSON, folder: Path) -> dict[str, Path]:
    """Write the volumes below ``folder``, and return where each is, by name.

    Raises:
        NotYet: a secret or a config map is missing.
    """
    return {each["name"]: await _make(api, pod, each, folder / each["name"]) for each in pod["spec"].get("volumes", [])}


async def _make(api: Api, pod: JSON, volume: JSON, folder: Path) -> Path:
    if "hostPath" in volume:
        return Path(volume["hostPath"]["path"])
    folder.mkdir(parents=True, exist_ok=True)
    namespace = pod["metadata"]["namespace"]
    for kind, source in volume.items():
        if kind == "secret":
            named = {"name": source["secretName"], **source}
            _write(folder, await _items(api, namespace, "secret", named), source.get("defaultMode"))
        elif kind == "configMap":
            _write(folder, await _items(api, namespace, "configMap", source), source.get("defaultMode"))
        elif kind == "downwardAPI":
            _write(folder, {each["path"]: str(field(pod, each)).encode() for each in source["items"]}, None)
        elif kind == "projected":
            for each in source["sources"]:
                _write(folder, await _projected(api, pod, each), source.get("defaultMode"))
        elif kind not in ("name", "emptyDir"):
            raise NotYet(f"volume {volume['name']}: this node has no {kind} volumes")
    return folder


async def _projected(api: Api, pod: JSON, source: JSON) -> dict[str, bytes]:
    namespace = pod["metadata"]["namespace"]
    [(kind, inner)] = source.items()
    if kind == "serviceAccountToken":
        return {inner["path"]: await _token(api, pod, inner)}
    if kind == "downwardAPI":
        return {each["path"]: str(field(pod, each)).encode() for each in inner["items"]}
    return await _items(api, namespace, kind, inner)


async def _token(api: Api, pod: JSON, source: JSON) -> bytes:
    meta = pod["metadata"]
    account = pod["spec"].get("serviceAccountName") or "default"
    spec = {
        "audiences": [source["audience"]] if source.get("audience") else [],
        "expirationSeconds": max(source.get("expirationSeconds") or 0, _TOKEN_LIFETIME_S),
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]},
    }
    path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
    made = await api.create(path, {"spec": spec})
    assert made is not None
    return str(made["status"]["token"]).encode()


async def _items(api: Api, namespace: str, kind: str, source: JSON) -> dict[str, bytes]:
    """Return what a secret or a config map has, by the paths that a volume wants."""
    contents = await contents_of(api, namespace, kind, source["name"])
    if contents is None:
        if source.get("optional"):
            return {}
        raise NotYet(f'{kind.lower()} "{source["name"]}" not found')
    if not source.get("items"):
        return contents
    return {each["path"]: contents[each["key"]] for each in source["items"]}


async def contents_of(api: Api, namespace: str, kind: str, name: str) -> dict[str, bytes] | None:
    """Return what a ``secret`` or a ``configMap`` has, by key; None where there is none."""
    found = await api.get(f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}")
    if found is None:
        return None
    if kind == "secret":
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    binary = {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
    return binary | {key: value.encode() for key, value in (found.get("data") or {}).items()}


def _write(folder: Path, contents: dict[str, bytes], mode: int | None) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)
        os.chmod(path, mode if mode is not None else 0o644)


def field(pod: JSON, source: JSON) -> Any:
    """Return the field of the pod that a ``fieldRef`` names; dictionaries as a kubelet writes them."""
    path = source["fieldRef"]["fieldPath"]
    name, _, key = path.partition("['")
    value: Any = pod
    for part in name.split("."):
        value = (value or {}).get(part)
    if key:
        return (value or {}).get(key.removesuffix("']"), "")
    if isinstance(value, dict):
        return "\n".join(f'{each}="{value[each]}"' for each in sorted(value))
    return "" if value is None else value
