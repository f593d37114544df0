"""``jupyter offload relay``: run a relay, and look at one. The keeper has no part in it."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from .. import __version__
from ..api.models import FieldProblem, Finding, Findings
from ..api.problems import BadInput, Broken, OffloadError, ProblemCode
from . import BAD_INPUT, FAILED, INTERRUPTED, OK
from .checks import print_findings
from .output import Output

_TIMEOUT_S = 10.0
_SOON_DAYS = 14
_HTTPS_PORT = 443


def serve(arguments: argparse.Namespace) -> int:
    """Be a relay until a signal ends it."""
    from ..relay.hub.mistakes import BadConfig
    from ..relay.hub.preflight import checked_config
    from ..relay.hub.service import serve as serve_relay

    output = output_of(arguments)
    path = _path(arguments)
    try:
        asyncio.run(serve_relay(path, checked_config(path), __version__))
    except BadConfig as error:
        return _mistakes(output, error)
    except OSError as error:
        output.error(Broken(ProblemCode.internal, f"The relay cannot start: {error}.",
                            hint="Free the port or mend the permissions, then try again."))  # fmt: skip
        return FAILED
    return OK


def check_config(arguments: argparse.Namespace) -> int:
    """Look at a configuration file and at what it names; status 2 if something is wrong."""
    from ..relay.hub.config import RelayConfig
    from ..relay.hub.mistakes import BadConfig
    from ..relay.hub.preflight import checked_config, soon

    output = output_of(arguments)
    if arguments.schema:
        output.raw(json.dumps(RelayConfig.model_json_schema(), indent=2) + "\n")
        return OK
    path = _path(arguments)
    try:
        config = checked_config(path)
    except BadConfig as error:
        return _mistakes(output, error)
    warnings = [str(mistake) for mistake in soon(config)]
    if output.as_json:
        output.model({"file": str(path), "warnings": warnings})
        return OK
    output.line(
        f"{path} is right: a relay {config.domain}, for {', '.join(sorted({i.type for i in config.identities}))}."
    )
    for warning in warnings:
        output.line(warning)
    return OK


def check(arguments: argparse.Namespace) -> int:
    """Look at a relay from here; status 1 if it cannot be used."""
    output = output_of(arguments)
    try:
        address, domain = split_address(arguments.address, arguments.domain)
    except OffloadError as error:
        output.error(error)
        return BAD_INPUT
    try:
        findings = asyncio.run(_look(address, domain, arguments.ca_file))
    except KeyboardInterrupt:
        return INTERRUPTED
    if output.as_json:
        output.model(Findings(findings=findings))
    else:
        print_findings(output, [(f"{address[0]}:{address[1]}", finding) for finding in findings])
    return FAILED if any(f.state == "error" for f in findings) else OK


# ------------------------------------------------------------ the configuration
def output_of(arguments: argparse.Namespace) -> Output:
    """Return where a command without a keeper speaks."""
    return Output(as_json=getattr(arguments, "json", False))


def _path(arguments: argparse.Namespace) -> Path:
    from ..relay.hub.config import DEFAULT_FILE

    return Path(arguments.config or DEFAULT_FILE)


def _mistakes(output: Output, error: Any) -> int:
    problems = [FieldProblem(field=m.field, message=m.message, hint=m.remedy or None) for m in error.mistakes]
    first = problems[0]
    output.error(
        BadInput(ProblemCode.invalid, f"{error.path}: {first.field}: {first.message}", hint=first.hint, errors=problems)
    )
    return BAD_INPUT


# ------------------------------------------------------------ a relay
def split_address(address: str, domain: str | None) -> tuple[tuple[str, int], str]:
    """Return host and port of a relay, and its domain, which is the host unless it is given.

    Raises:
        BadInput: it is no address.
    """
    host, colon, port = address.removeprefix("https://").rstrip("/").rpartition(":")
    if not colon or host.endswith(":") or port.endswith("]"):
        host, port = address.removeprefix("https://").rstrip("/"), str(_HTTPS_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise BadInput(ProblemCode.invalid, f"ADDRESS: {address!r} is not host:port.", field="ADDRESS",
                       hint="Write for example relay.example.org:443")  # fmt: skip
    return (host, int(port)), (domain or host).lower()


def host_port(address: tuple[str, int]) -> str:
    """Return an address as people write it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _look(address: tuple[str, int], domain: str, ca_file: str | None) -> list[Finding]:
    findings: list[Finding] = []
    async for finding in _findings(address, domain, ca_file):
        findings.append(finding)
        if finding.state == "error":  # what comes after needs it
            break
    return findings


async def _findings(address: tuple[str, int], domain: str, ca_file: str | None) -> AsyncIterator[Finding]:
    yield await _port(address)
    yield await _certificate(address, domain, ca_file)
    yield await _health(address, domain, ca_file)


async def _port(address: tuple[str, int]) -> Finding:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(*address)
    except OSError as error:
        why = str(error) or "no answer"
        return Finding(check="port", state="error", message=f"It cannot be reached: {why}.",
                       hint="Compare host and port with the relay's configuration, and look for a firewall between.")  # fmt: skip
    writer.close()
    return Finding(check="port", state="ok", message="It takes connections.")


async def _certificate(address: tuple[str, int], domain: str, ca_file: str | None) -> Finding:
    try:
        context = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file)
    except OSError as error:
        return Finding(check="certificate", state="error", message=f"{ca_file} cannot be read: {error}.",
                       hint="Give the PEM file of the authority that signed the relay's certificate.")  # fmt: skip
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=domain)
    except ssl.SSLCertVerificationError as error:
        return Finding(check="certificate", state="error", message=f"It cannot be trusted: {error.verify_message}.",
                       hint="Give its authority by --ca-file and its name by --domain, or renew the certificate.")  # fmt: skip
    except ssl.SSLError as error:
        return Finding(check="certificate", state="error", message=f"TLS fails: {error.reason or error}.",
                       hint=f"Look whether the relay's domain is {domain}, and whether a proxy between ends TLS.")  # fmt: skip
    except OSError as error:
        return Finding(check="certificate", state="error", message=f"TLS fails: {error or 'no answer'}.",
                       hint=f"Look whether this is the relay {domain}, and whether a firewall between looks into connections.")  # fmt: skip
    shown = writer.get_extra_info("peercert")
    writer.close()
    end = datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), datetime.UTC)
    left = end - datetime.datetime.now(datetime.UTC)
    if left < datetime.timedelta(days=_SOON_DAYS):
        return Finding(check="certificate", state="warning", message=f"It expires on {end:%Y-%m-%d}.",
                       hint="Renew it; a relay reads it again by itself.")  # fmt: skip
    return Finding(check="certificate", state="ok", message=f"It is of {domain}, until {end:%Y-%m-%d}.")


async def _health(address: tuple[str, int], domain: str, ca_file: str | None) -> Finding:
    from ..relay.client import RelayClient, RelayError

    ca = Path(ca_file) if ca_file else None
    async with RelayClient(host_port(address), domain, ca_file=ca, timeout_s=_TIMEOUT_S) as client:
        try:
            health = await client.health()
        except RelayError as error:
            return Finding(check="relay", state="error", message=error.detail, hint=error.hint or None)
    if health.status != "ok":
        return Finding(check="relay", state="warning", message=f"It is {health.status}.",
                       hint="It is about to end; its successor should answer in a moment.")  # fmt: skip
    return Finding(check="relay", state="ok", message=f"It is a relay of version {health.version}.")
