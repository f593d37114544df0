"""Look at everything this installation needs and say how to mend what is wrong. Changes nothing that stays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from ..api.models import Environment, Finding
from ..api.problems import OffloadError
from ..ports import Capability
from . import doctor_host, doctor_jupyter
from .dask_migration import dask_config, migration
from .doctor_relay import relay_findings
from .environments import Environments
from .sites import SiteEntry, SiteRegistry

log = logging.getLogger(__name__)

#: Longest wait for one check; a file system that does not answer must not keep the others from being seen.
TIMEOUT_S = 30.0
#: Newest Python that this release is tested with.
TESTED_PYTHON = (3, 13)

_BLOCKING: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
    ("data-folder", doctor_host.data_folder),
    ("disk-space", doctor_host.disk_space),
    ("runtime-folder", doctor_host.runtime_folder),
    ("clock", doctor_host.clock),
    ("loopback", doctor_host.loopback),
    ("tls", doctor_host.tls),
    ("hub", doctor_host.hub),
    ("keeper-log", doctor_host.keeper_log),
    ("packages", doctor_jupyter.packages),
    ("server-extension", doctor_jupyter.server_extension),
    ("lab-extension", doctor_jupyter.lab_extension),
)


async def examine(registry: SiteRegistry, environments: Environments) -> list[Finding]:
    """Return what was found, in the order of the checks; one that fails or hangs is a finding itself."""
    await registry.refresh()

    def in_thread(check: Callable[[], Iterable[Finding]]) -> Callable[[], Awaitable[Iterable[Finding]]]:
        return lambda: asyncio.to_thread(lambda: list(check()))

    checks = [(name, in_thread(check)) for name, check in _BLOCKING]
    checks.append(("environments", lambda: _environments(environments)))
    checks += [(f"site {e.name}", lambda e=e: site_findings(e, relay=False)) for e in registry.all()]  # type: ignore[misc]
    checks.append(("relay", lambda: relay_findings(registry.all())))
    checks.append(("dask-labextension", _migration))
    found = await asyncio.gather(*(_run(name, check) for name, check in checks))
    return [finding for findings in found for finding in findings]


async def _run(name: str, check: Callable[[], Awaitable[Iterable[Finding]]]) -> Iterable[Finding]:
    try:
        return await asyncio.wait_for(check(), TIMEOUT_S)
    except TimeoutError:
        message = f"No answer within {TIMEOUT_S:.0f} s."
        hint = "Look whether a file system or a network service hangs; nothing was changed."
        return [Finding(check=name, state="error", message=message, hint=hint)]
    except OffloadError as error:
        return [Finding(check=name, state="error", message=error.message, hint=error.hint)]
    except Exception as error:
        log.warning("check %s failed", name, exc_info=True)
        message = f"The check itself failed: {type(error).__name__}: {error}"
        return [Finding(check=name, state="error", message=message, hint="The keeper's log has the details.")]


async def site_findings(entry: SiteEntry, *, relay: bool = True) -> Sequence[Finding]:
    """Return every mistake in a site's definition, what its backend finds, and how its relay does where it needs one."""
    name = f"site {entry.name}"
    findings = [
        Finding(check=name, state="error", message=f"{entry.source}: {p.field}: {p.message}", hint=p.hint)
        for p in entry.problems
    ]
    if entry.backend is not None:
        found = list(await entry.backend.check())
        if Capability.dial_out in entry.backend.capabilities and relay:
            found += await relay_findings([entry])
        findings += [f.model_copy(update={"check": f"{name}: {f.check}"}) for f in found]
    return findings or [Finding(check=name, state="ok", message=f"Defined by {entry.source}.")]


async def _environments(environments: Environments) -> list[Finding]:
    return [_environment(e) for e in await environments.list(refresh=True)]


def _environment(environment: Environment) -> Finding:
    check = f"environment {environment.name}"
    if not environment.usable:
        # somebody's R-only or half-removed kernel is no fault of ours; the default one is
        return Finding(
            check=check,
            state="error" if environment.default else "warning",
            message=environment.problem or "",
            hint=environment.hint,
        )
    version = environment.python_version or ""
    message = f"Python {version}, distributed {environment.versions.get('distributed')} ({environment.python})"
    if tuple(int(n) for n in version.split(".")[:2] if n.isdigit()) > TESTED_PYTHON:
        hint = f"This release is tested up to Python {'.'.join(map(str, TESTED_PYTHON))}."
        return Finding(check=check, state="warning", message=f"{message} is newer than what is tested.", hint=hint)
    return Finding(check=check, state="ok", message=message)


async def _migration() -> list[Finding]:
    return migration(await dask_config("labextension"))
