"""What the doctor looks at for a relay: configured, reachable, trusted, and willing to have this user."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable

from ..api.models import Finding
from ..api.units import format_duration
from ..ports import Capability
from .relay import embedded
from .relay.admission import Admission
from .relay.files import RelayConfiguration, read_configuration
from .relay.problems import RelayProblem
from .relay.settings import EmbeddedRelay, RelayUse
from .sites import SiteEntry

CHECK = "relay"
CONNECT_TIMEOUT_S = 5.0
#: A certificate that ends sooner is worth a word: somebody has to renew it.
SOON_S = 14 * 86400


async def relay_findings(sites: Iterable[SiteEntry]) -> list[Finding]:
    """Return what was found about the relay that is configured, or that these sites would need."""
    configuration = await asyncio.to_thread(read_configuration)
    if configuration.problems:
        return [
            Finding(check=CHECK, state="error", message=f"{configuration.path}: {p.field}: {p.message}", hint=p.hint)
            for p in configuration.problems
        ]
    needing = [s.name for s in sites if s.backend is not None and Capability.dial_out in s.backend.capabilities]
    if configuration.path is None and not needing:
        return [Finding(check=CHECK, state="ok", message="No site needs a relay, and none is configured.")]
    if configuration.facility is not None:
        return await _facility(configuration.facility)
    return await _embedded(configuration, needing)


# ---------------------------------------------------------------- the facility's
async def _facility(use: RelayUse) -> list[Finding]:
    found = await asyncio.gather(*(asyncio.to_thread(_reach, address, use) for address in use.addresses))
    return [*found, await _admitted(use)]


def _reach(address: str, use: RelayUse) -> Finding:
    """Connect as a worker does, as far as the relay's certificate. Blocking."""
    host, _, port = address.rpartition(":")
    try:
        context = ssl.create_default_context(cafile=use.ca_file)
    except (OSError, ssl.SSLError) as error:
        message = f"The ca_file {use.ca_file} cannot be used: {error}."
        return Finding(
            check=CHECK, state="error", message=message, hint="Name a PEM file of authorities in relay.yaml."
        )
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S) as one,
            context.wrap_socket(one, server_hostname=use.domain) as tls,
        ):
            ends = ssl.cert_time_to_seconds(str((tls.getpeercert() or {})["notAfter"]))
    except ssl.SSLCertVerificationError as error:
        message = f"The certificate of the relay at {address} is not trusted: {error.verify_message}."
        hint = f"Set ca_file in relay.yaml to the authority that signed it, and domain to its name (now {use.domain})."
        return Finding(check=CHECK, state="error", message=message, hint=hint)
    except ssl.SSLError as error:
        message = f"What listens at {address} is no relay of {use.domain}: {error.reason or error}."
        return Finding(check=CHECK, state="error", message=message, hint="Correct addresses or domain in relay.yaml.")
    except OSError as error:
        message = f"The relay at {address} cannot be reached: {error}."
        hint = "Ask the facility whether it runs, and whether a firewall is between; workers need the same way out."
        return Finding(check=CHECK, state="error", message=message, hint=hint)
    left_s = ends - time.time()
    if left_s < SOON_S:
        message = f"The certificate of the relay at {address} ends in {format_duration(int(left_s))}."
        return Finding(check=CHECK, state="warning", message=message, hint="Tell those who run it to renew it.")
    return Finding(check=CHECK, state="ok", message=f"The relay at {address} answers and is trusted as {use.domain}.")


async def _admitted(use: RelayUse) -> Finding:
    where = "https" if use.admission == "https" else use.admission
    try:
        await Admission(use).trial()
    except RelayProblem as problem:
        return Finding(check=CHECK, state="error", message=problem.reason.message, hint=problem.reason.hint)
    return Finding(check=CHECK, state="ok", message=f"The relay takes our word (admission by {where}).")


# ---------------------------------------------------------------- one of our own
async def _embedded(configuration: RelayConfiguration, needing: list[str]) -> list[Finding]:
    settings = configuration.file.embedded or EmbeddedRelay()
    findings = []
    host = settings.host
    if host is None:
        host = await asyncio.to_thread(embedded.guessed_host)
        asked = (
            f"site {needing[0]} needs a relay and the facility has none configured" if needing else "relay.yaml asks so"
        )
        findings.append(
            Finding(
                check=CHECK, state="warning",
                message=f"A relay runs on this host while a cluster needs one ({asked}), and workers are told to dial"
                f" {host}, which is a guess.",
                hint="Write the name that workers reach this host by into offload/relay.yaml: embedded: {host: ...}; or the"
                " facility's relay: addresses: [relay.example.org:443]",
            )
        )  # fmt: skip
    kept = await asyncio.to_thread(embedded.kept_port)
    port = settings.port or kept
    running = await embedded.Embedded().running()
    if running:
        message = f"The relay on this host runs; workers dial {host}:{port}."
        findings.append(Finding(check=CHECK, state="ok", message=message))
    elif port and not await asyncio.to_thread(embedded.is_free, settings.bind, port):
        message = f"Port {port} on {settings.bind} is taken, so the relay on this host cannot start."
        hint = "End what holds it, or set another embedded.port in relay.yaml; new clusters then use that one."
        findings.append(Finding(check=CHECK, state="error", message=message, hint=hint))
    else:
        where = f"port {port}" if port else "a free port"
        findings.append(Finding(check=CHECK, state="ok", message=f"A relay can be started on this host, on {where}."))
    return findings
