"""The environment of a container, and the words of its command with variables put in."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .api import JSON, Api
from .volumes import NotYet, contents_of
from .volumes import field as pod_field

#: Of a program on this machine: where programs are found and what language they speak.
_KEPT = ("LANG", "LC_ALL", "TZ")
_INSIDE = Path(__file__).parent / "inside"
_VARIABLE = re.compile(r"\$(\$|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")
#: RFC 2606: this top-level domain never is anybody's, so such an image can never be pulled.
_NOBODYS = ".invalid"


class CannotPull(Exception):
    """There is no such image; the message is a registry's."""


@dataclass(frozen=True)
class Images:
    """What containers find in an image: programs of this machine, first in a folder that the image's name stands for.

    Args:
        default: where programs are looked for first in any image.
        named: other folders, by the image's name.
    """

    default: str
    named: dict[str, str] = field(default_factory=dict)

    def path(self, image: str) -> str:
        """Return PATH in a container of this image.

        Raises:
            CannotPull: its registry is nobody's.
        """
        registry = image.partition("/")[0]
        if registry.endswith(_NOBODYS):
            raise CannotPull(f'failed to pull image "{image}": dial tcp: lookup {registry}: no such host')
        first = self.named.get(image, self.default)
        return f"{first}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def environment(api: Api, pod: JSON, container: JSON, path: str) -> dict[str, str]:
    """Return a container's variables.

    Raises:
        NotYet: one is to come from something that is missing.
    """
    server = urlsplit(api.url)
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    env |= {
        "PATH": path,
        "HOME": "/tmp",
        "HOSTNAME": pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
    }
    namespace = pod["metadata"]["namespace"]
    for source in container.get("envFrom", []):
        for kind, key in (("secretRef", "secret"), ("configMapRef", "configMap")):
            if kind in source:
                contents = await contents_of(api, namespace, key, source[kind]["name"]) or {}
                env |= {source.get("prefix", "") + name: value.decode() for name, value in contents.items()}
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            value = await _value_from(api, pod, variable["valueFrom"])
        else:
            value = expanded(variable.get("value", ""), env)
        if value is not None:
            env[variable["name"]] = value
    env["ORDINARY_NODE_POD_IP"] = pod["status"]["podIP"]
    env["PYTHONPATH"] = ":".join(filter(None, [str(_INSIDE), env.get("PYTHONPATH")]))
    return env


async def _value_from(api: Api, pod: JSON, source: JSON) -> str | None:
    if "fieldRef" in source:
        return str(pod_field(pod, source))
    for kind, key in (("secretKeyRef", "secret"), ("configMapKeyRef", "configMap")):
        if kind in source:
            named = source[kind]
            contents = await contents_of(api, pod["metadata"]["namespace"], key, named["name"]) or {}
            if named["key"] in contents:
                return contents[named["key"]].decode()
            if named.get("optional"):
                return None
            raise NotYet(f'{key.lower()} "{named["name"]}" not found')
    raise NotYet(f"this node knows no {next(iter(source))}")


def expanded(text: str, env: dict[str, str]) -> str:
    """Put variables in: ``$(NAME)``; one that is not there stays as it is, and ``$$`` is ``$``."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else env.get(found[2], found[0])

    return _VARIABLE.sub(value, text)
