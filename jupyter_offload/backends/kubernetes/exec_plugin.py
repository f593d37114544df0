"""Credentials that a program prints, as kubeconfigs of clouds and of OpenID Connect name one.

Protocol: https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ...api.problems import BadInput, OffloadError, ProblemCode, Unavailable
from .account import Account

#: Such programs ask a server; one that waits for a person never ends.
TIMEOUT_S = 30.0
#: Renewed this long before it ends, so that no request meets the end.
_MARGIN_S = 60.0
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclass(frozen=True)
class Printed:
    """What a program printed; ``expires_at`` in seconds since the epoch, infinite where it says nothing."""

    token: str | None = field(default=None, repr=False)
    certificate_pem: str | None = field(default=None, repr=False)
    key_pem: str | None = field(default=None, repr=False)
    expires_at: float = float("inf")

    def fresh(self) -> bool:
        """Tell whether it can still be used."""
        return time.time() < self.expires_at - _MARGIN_S


async def run_plugin(account: Account) -> Printed:
    """Run the program of a kubeconfig and return what it prints.

    Raises:
        BadInput: it is missing, fails, or prints something else (``access-denied``).
        Unavailable: it does not end in time.
    """
    plugin = account.plugin or {}
    command, version = str(plugin.get("command") or ""), str(plugin.get("apiVersion") or "")
    if version not in _VERSIONS:
        raise _failed(account, command, f"it speaks {version or 'no version'}, not {_VERSIONS[0]}")
    if "/" in command and not command.startswith("/") and account.file is not None:
        command = str(account.file.parent / command)
    words = [command, *map(str, plugin.get("args") or [])]
    try:
        process = await asyncio.create_subprocess_exec(
            *words, env=_environment(plugin, version, account), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise _failed(account, command, error.strerror or str(error)) from error
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, errors = await process.communicate()
    except TimeoutError as error:
        message = f"{command}, which {account.source} names, printed no credentials within {TIMEOUT_S:.0f} s."
        raise Unavailable(ProblemCode.site_unreachable, message, hint=f"Run it in a terminal: {command}") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.returncode != 0:
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["without a word"]
        raise _failed(account, command, f"it ended with {process.returncode}: {last[0][:200]}")
    return _parsed(account, command, out)


def _environment(plugin: Any, version: str, account: Account) -> dict[str, str]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {"server": account.server, "insecure-skip-tls-verify": account.insecure}
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    given = {str(e["name"]): str(e["value"]) for e in plugin.get("env") or []}
    return {**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps(info)}


def _parsed(account: Account, command: str, out: bytes) -> Printed:
    try:
        status = json.loads(out)["status"]
        ends = status.get("expirationTimestamp")
        printed = Printed(
            token=status.get("token"),
            certificate_pem=status.get("clientCertificateData"),
            key_pem=status.get("clientKeyData"),
            expires_at=datetime.fromisoformat(ends).timestamp() if ends else float("inf"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _failed(account, command, "it printed no ExecCredential") from error
    if not printed.token and not (printed.certificate_pem and printed.key_pem):
        raise _failed(account, command, "it printed neither a token nor a certificate")
    return printed


def _failed(account: Account, command: str, why: str) -> OffloadError:
    message = f"{command!r}, which {account.source} names, gave no credentials: {why}."
    hint = f"Run it in a terminal and log in again if it asks: {command}"
    return BadInput(ProblemCode.access_denied, message, hint=hint)
