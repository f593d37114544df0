"""Which relay clusters use, as ``offload/relay.yaml`` in Jupyter's configuration says it, and what a cluster keeps of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ...api.models import Model, Seconds

RESUME_S = 60
LEASE_S = 3600
#: A keeper that is busy or restarted must be in time to renew it.
SHORTEST_LEASE_S = 60
HTTPS = "https"

_HOST = r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)"
_ADDRESS = re.compile(rf"{_HOST}:(\d{{1,5}})\Z")
_DOMAIN = re.compile(r"(?=.{1,120}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def _check_address(address: str) -> str:
    found = _ADDRESS.match(address)
    if not found or not 0 < int(found[1]) < 65536:
        raise ValueError(f"{address!r} is not host:port; write for example relay.example.org:443")
    return address


def _check_domain(domain: str) -> str:
    if not _DOMAIN.match(domain):
        raise ValueError(f"{domain!r} is no domain name in lower case; write for example relay.example.org")
    return domain


def _check_path(path: str) -> str:
    if not Path(path).is_absolute():
        raise ValueError(f"{path!r} is no absolute path; begin it with /")
    return path


def _check_admission(admission: str) -> str:
    return admission if admission == HTTPS else _check_path(admission)


def _check_variable(name: str) -> str:
    if not _VARIABLE.match(name):
        raise ValueError(f"{name!r} is no name of an environment variable; write for example JUPYTERHUB_API_TOKEN")
    return name


def _check_lease(lease_s: int) -> int:
    if lease_s < SHORTEST_LEASE_S:
        raise ValueError(f"{lease_s} s is too short for a lease; write at least {SHORTEST_LEASE_S}, or for example 1 h")
    return lease_s


Address = Annotated[str, AfterValidator(_check_address)]
Domain = Annotated[str, AfterValidator(_check_domain)]
AbsolutePath = Annotated[str, AfterValidator(_check_path)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Identity(Model):
    """Who the user is to the facility's relay; exactly one of these."""

    token_file: AbsolutePath | None = Field(default=None, description="file with a token, read each time it is used")
    token_variable: Annotated[str, AfterValidator(_check_variable)] | None = Field(
        default=None,
        description="environment variable of the Jupyter server that holds a token, such as JUPYTERHUB_API_TOKEN",
    )


class EmbeddedRelay(Model):
    """A relay that the keeper itself runs on this host."""

    host: str | None = Field(default=None, description="name or address that workers dial; null = a guess")
    bind: str = Field(default="0.0.0.0", description="address of this host to listen on")  # noqa: S104  (workers come from outside)
    port: Port = Field(default=0, description="0 = one that is free, and from then on always the same")


class RelayFile(Model):
    """What ``relay.yaml`` may say: the facility's relay, or how to run one of one's own."""

    addresses: list[Address] = Field(default=[], description="host:port of the facility's relay, one or several")
    domain: Domain | None = Field(
        default=None, description="the relay's name in its certificate; null = the first host"
    )
    ca_file: AbsolutePath | None = Field(
        default=None,
        description="PEM file of the authority of the relay's certificate; null = the system's authorities",
    )
    admission: Annotated[str, AfterValidator(_check_admission)] = Field(
        default=HTTPS, description="'https' at the relay's address, or the path of its unix socket on this host"
    )
    identity: Identity | None = Field(default=None, description="needed for https; a unix socket knows who asks")
    lease_s: Annotated[Seconds, AfterValidator(_check_lease)] = Field(
        default=LEASE_S, description="how long the relay serves a cluster whose keeper is not heard of"
    )
    resume_s: Seconds = Field(
        default=RESUME_S, description="how long connections survive without the relay or the network; 0 = not at all"
    )
    embedded: EmbeddedRelay | None = Field(default=None, description="run a relay on this host instead")


class RelayUse(Model):
    """The relay of one cluster, from its start to its end: its workers know these addresses."""

    embedded: bool
    addresses: list[str]
    domain: str
    ca_file: str | None
    admission: str
    identity: Identity | None = None
    lease_s: float
    resume_s: float
    cluster: str = Field(default="", description="the cluster's name at the relay: the fingerprint of its CA")
    #: certificates of jobs, by their names, and when each ends by itself (seconds since the epoch)
    issued: dict[str, float] = {}
    #: those whose jobs are over; a relay forgets them with the lease, so each renewal says them again
    revoked: dict[str, float] = {}

    def launch_part(self) -> dict[str, Any]:
        """Return what the scheduler process is told of it."""
        return {
            "addresses": self.addresses,
            "domain": self.domain,
            "ca_file": self.ca_file,
            "resume_s": self.resume_s,
        }
