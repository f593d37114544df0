"""``jupyter offload relay credentials|admit|revoke|bundle``: a relay for Dask clusters that somebody starts by hand."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import random
import signal
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..api.problems import BadInput, Broken, OffloadError, ProblemCode
from . import BAD_INPUT, FAILED, INTERRUPTED, OK
from .output import Output
from .relay import host_port, output_of, split_address

if TYPE_CHECKING:
    from ..relay.client import RelayClient

_CA, _CA_KEY = "ca.pem", "ca-key.pem"
_RELAY_CA = "relay-ca.pem"
#: A lease is renewed after this part of it, and after this time when that fails.
_RENEW_AFTER = 0.4
_AGAIN_S = 5.0


def credentials(arguments: argparse.Namespace) -> int:
    """Make an authority for a cluster, and a folder with certificate and Dask configuration for everybody in it."""
    output = output_of(arguments)
    try:
        address, domain = split_address(arguments.address, arguments.domain)
        made = _make(Path(arguments.folder), host_port(address), domain, arguments)
    except OffloadError as error:
        output.error(error)
        return BAD_INPUT
    except OSError as error:
        output.error(Broken(ProblemCode.internal, f"{error.filename or arguments.folder}: {error.strerror}.",
                            hint="Choose a folder that you can write."))  # fmt: skip
        return FAILED
    if output.as_json:
        output.model({"folders": [str(folder) for folder in made]})
    else:
        for folder in made:
            output.line(str(folder))
    return OK


def admit(arguments: argparse.Namespace) -> int:
    """Have a relay let a cluster in, for as long as this runs."""
    return _with_relay(arguments, lambda output, client: _hold(output, client, Path(arguments.folder), arguments.lease))


def revoke(arguments: argparse.Namespace) -> int:
    """Have a relay refuse a job of a cluster, and cut it."""
    return _with_relay(arguments, lambda output, client: _revoke(output, client, Path(arguments.folder), arguments.job))


def bundle(arguments: argparse.Namespace) -> int:
    """Write the one file that an environment with distributed alone needs on PYTHONPATH."""
    from ..relay.bundle import write_bundle

    output = output_of(arguments)
    try:
        write_bundle(Path(arguments.file), __version__)
    except OSError as error:
        output.error(Broken(ProblemCode.internal, f"{arguments.file} cannot be written: {error.strerror}.",
                            hint="Choose another place."))  # fmt: skip
        return FAILED
    return OK


# ------------------------------------------------------------ credentials
def _make(folder: Path, address: str, domain: str, arguments: argparse.Namespace) -> list[Path]:
    """Return the folders, one for each role."""
    from ..relay.certificates import issue_job_certificate, make_cluster_certificates

    relay_ca = Path(arguments.ca_file).read_bytes() if arguments.ca_file else None
    files = make_cluster_certificates(folder, "cluster")
    roles = {"scheduler": files.scheduler_file.read_bytes(), "client": files.client_file.read_bytes()}
    for job in arguments.job:
        if not (folder / job / "certificate.pem").exists():
            try:
                roles[job] = issue_job_certificate(folder, job, datetime.timedelta(days=arguments.days))
            except ValueError as error:
                raise BadInput(
                    ProblemCode.invalid, f"--job: {error}.", field="--job", hint="Write for example a1."
                ) from error
    made = []
    for role, pem in roles.items():
        made.append(_role(folder.resolve() / role, pem, (folder / _CA).read_bytes(), relay_ca))
        _configuration(made[-1], role, address, domain, relay_ca is not None)
    return made


def _role(folder: Path, pem: bytes, ca: bytes, relay_ca: bytes | None) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    files = {"certificate.pem": pem, _CA: ca} | ({_RELAY_CA: relay_ca} if relay_ca is not None else {})
    for name, content in files.items():
        file = folder / name
        file.touch(mode=0o600)
        file.write_bytes(content)
    return folder


def _configuration(folder: Path, role: str, address: str, domain: str, own_authority: bool) -> None:
    """Write Dask's configuration of one role: what ``DASK_CONFIG`` names."""
    import yaml

    job = role not in ("scheduler", "client")
    own = {"cert": str(folder / "certificate.pem"), "key": str(folder / "certificate.pem")}
    tls: dict[str, Any] = {"ca-file": str(folder / _CA), "worker" if job else role: own}
    if job:
        tls["client"] = own  # for tasks that submit tasks
    relay = {"addresses": [address], "domain": domain, "ca-file": str(folder / _RELAY_CA) if own_authority else None}
    if job:
        relay["name"] = f"w-{role}-"
    document = {"relay": relay, "distributed": {"comm": {"require-encryption": True, "tls": tls}}}
    (folder / "dask.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


# ------------------------------------------------------------ the relay
def _with_relay(arguments: argparse.Namespace, work: Callable[[Output, RelayClient], Awaitable[int]]) -> int:
    from ..relay.client import RelayClient, RelayError

    output = output_of(arguments)

    async def run() -> int:
        if arguments.address.startswith("/"):
            if not arguments.domain:
                raise BadInput(ProblemCode.invalid, "--domain: a unix socket does not tell the relay's name.",
                               field="--domain", hint="Give the domain of the relay's configuration.")  # fmt: skip
            address, domain = arguments.address, arguments.domain.lower()
        else:
            found, domain = split_address(arguments.address, arguments.domain)
            address = host_port(found)
        ca_file = Path(arguments.ca_file) if arguments.ca_file else None
        token = (lambda: Path(arguments.token_file).read_text().strip()) if arguments.token_file else None
        async with RelayClient(address, domain, ca_file=ca_file, token=token) as client:
            return await work(output, client)

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        return INTERRUPTED
    except RelayError as error:
        output.error(Broken(ProblemCode.internal, error.detail, hint=error.hint or None))
        return FAILED
    except OffloadError as error:
        output.error(error)
        return BAD_INPUT
    except OSError as error:
        output.error(BadInput(ProblemCode.invalid, f"FOLDER: {error.filename} cannot be read: {error.strerror}.",
                              field="FOLDER", hint="Name the folder that the command credentials made."))  # fmt: skip
        return BAD_INPUT


async def _hold(output: Output, client: RelayClient, folder: Path, lease_s: float) -> int:
    """Renew the lease until interrupted, then give it back."""
    from ..relay.client import RelayUnavailable, sign_with

    ca_pem, sign = (folder / _CA).read_text(), sign_with((folder / _CA_KEY).read_bytes())
    lease = await client.admit(ca_pem, sign, lease_s)
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    output.line(f"The relay lets the cluster in, for {lease.identity}. It does so while this runs; end it with Ctrl-C.")
    pause_s = lease.lease_s * _RENEW_AFTER
    try:
        while True:
            await asyncio.sleep(pause_s * random.uniform(0.9, 1.1))  # noqa: S311  (no secret hangs on it)
            try:
                lease = await client.admit(ca_pem, sign, lease_s)
                pause_s = lease.lease_s * _RENEW_AFTER
            except RelayUnavailable as error:
                output.note(f"{error} Trying again.")
                pause_s = _AGAIN_S
    except asyncio.CancelledError:  # by a signal
        await client.withdraw(lease.cluster)
        return INTERRUPTED


async def _revoke(output: Output, client: RelayClient, folder: Path, job: str) -> int:
    from ..relay.certificates import job_pattern
    from ..relay.names import fingerprint

    try:
        pattern = job_pattern(job)
    except ValueError as error:
        raise BadInput(ProblemCode.invalid, f"JOB: {error}.", field="JOB", hint="Write for example a1.") from error
    await client.revoke(fingerprint(ssl.PEM_cert_to_DER_cert((folder / _CA).read_text())), pattern)
    output.line(f"The relay lets {pattern} in no more.")
    return OK
