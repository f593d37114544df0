"""What ``jupyter offload doctor`` and ``sites check`` say of a Kubernetes site. Changes nothing that stays."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...api.models import Finding, SiteDefinition
from ...api.problems import OffloadError, ProblemCode
from ...api.units import format_duration
from .api import KubeApi
from .doctor_node import node_findings
from .doctor_rights import right_findings, who_am_i
from .doctor_rules import admission_findings, quota_findings
from .doctor_words import image_findings, name_findings, profile_findings
from .health import Sight
from .options import KubernetesOptions
from .placement import Placement

#: Deadlines and certificates bear this much.
CLOCK_WARNING_S = 30.0
CLOCK_ERROR_S = 300.0


async def examine(
    site: SiteDefinition, options: KubernetesOptions, api: KubeApi, sight: Sight, placement: Placement
) -> list[Finding]:
    """Return each thing that was looked at, in the order in which it is needed; what is moot after a failure is left out."""
    findings = list(_settings(options))
    error = await api.reach()
    findings += await asyncio.to_thread(lambda: list(_account(api)))
    if api.connection.account is None:
        assert error is not None
        return [*findings, Finding(check="account", state="error", message=error.message, hint=error.hint)]
    if error is not None:
        check = "account" if error.code is ProblemCode.access_denied else "api-server"
        return [*findings, Finding(check=check, state="error", message=error.message, hint=error.hint)]
    user = await who_am_i(api)
    findings += [*await _server(api, user), *_clock(api.server_time_offset_s)]
    findings += node_findings(sight, options, time.time())
    rights, allowed = await right_findings(api, user, options)
    findings += rights
    if "pods create" in allowed:
        findings += await admission_findings(site, options, api, placement)
    findings += await quota_findings(site, api)
    return [
        *findings,
        *name_findings(api.namespace),
        *image_findings(site),
        *profile_findings(site, sight),
    ]


def _settings(options: KubernetesOptions) -> Iterable[Finding]:
    if options.unreachable_toleration_s < 300:
        text = f"Workers are ended after {options.unreachable_toleration_s} s of silence of their node, healthy or not."
        hint = "Write at least options.unreachable_toleration_s: 1 h"
        yield Finding(check="silence", state="warning", message=text, hint=hint)


def _account(api: KubeApi) -> Iterable[Finding]:
    account = api.connection.account
    if account is None:
        return
    if account.insecure:
        text = f"{account.source} does not check whom it talks to (insecure-skip-tls-verify)."
        hint = "Put the CA of the API server there instead: certificate-authority."
        yield Finding(check="account", state="warning", message=text, hint=hint)
    if account.server.startswith("http://"):
        text = f"{account.source} reaches the API server without TLS, so that others read the token and the keys."
        yield Finding(check="account", state="warning", message=text, hint="Use its https:// address.")
    if account.file is not None and _open_to_others(account.file):
        text = f"{account.file} can be read by others, who then act as this account."
        hint = f"Close it, if it is one person's: chmod 600 {account.file}"
        yield Finding(check="account", state="warning", message=text, hint=hint)


def _open_to_others(file: Path) -> bool:
    try:
        return stat.S_IMODE(file.stat().st_mode) & 0o077 != 0
    except OSError:
        return False


async def _server(api: KubeApi, user: str) -> Sequence[Finding]:
    try:
        version = str((await api.request("GET", "/version")).get("gitVersion", "?"))
    except OffloadError as error:
        return [Finding(check="api-server", state="error", message=error.message, hint=error.hint)]
    account = api.connection.account
    server = account.server if account else "?"
    return [
        Finding(check="account", state="ok", message=f"{user or 'Some account'}, by {api.account_source}."),
        Finding(check="api-server", state="ok", message=f"Kubernetes {version} answers at {server}."),
    ]


def _clock(offset_s: float | None) -> Sequence[Finding]:
    if offset_s is None:
        return []
    apart = abs(offset_s)
    text = f"The clocks of this host and of the API server are {apart:.0f} s apart."
    if apart < CLOCK_WARNING_S:
        return [Finding(check="clock", state="ok", message=text)]
    state = "warning" if apart < CLOCK_ERROR_S else "error"
    text = f"This host's clock is {format_duration(apart)} {'behind' if offset_s > 0 else 'ahead of'} the API server's."
    hint = "Certificates may count as expired or not yet valid: set the clock, for example with chrony."
    return [Finding.model_validate({"check": "clock", "state": state, "message": text, "hint": hint})]
