"""The relay's configuration file: what it may say, and the defaults."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from .limits import HubLimits
from .quantities import Seconds

DEFAULT_FILE = Path("/etc/jupyter-offload/relay.yaml")
_DEFAULT = HubLimits()
_DOMAIN = re.compile(r"(?=.{1,120}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\Z")


def _check_domain(domain: str) -> str:
    if not _DOMAIN.match(domain):
        raise ValueError(f"{domain!r} is no domain name in lower case; write for example relay.example.org")
    return domain


def _check_path(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"{str(path)!r} is no absolute path; begin it with /")
    return path


def is_loopback(host: str) -> bool:
    """Whether only this host can reach a server at this host name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no address of a web service; write for example https://hub.example.org/hub/api")
    return url.rstrip("/")


def _check_secure_url(url: str) -> str:
    parts = urlsplit(_check_url(url))
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{url!r} is not safe from whoever is on the way; write https://")
    return url  # as it is: an issuer is compared letter by letter


def _check_mode(mode: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", mode):
        raise ValueError(f'{mode!r} is no mode of a file; write for example "0660", in quotes')
    return mode


def split_address(address: str) -> tuple[str, int]:
    """Return host and port.

    Raises:
        ValueError: there is none.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(
            f"{address!r} is not host:port; write for example 127.0.0.1:9464, or the path of a unix socket"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def _check_address(address: str) -> str:
    if not address.startswith("/"):
        split_address(address)
    return address


AbsolutePath = Annotated[Path, AfterValidator(_check_path)]
Url = Annotated[str, AfterValidator(_check_url)]
SecureUrl = Annotated[str, AfterValidator(_check_secure_url)]
Count = Annotated[int, Field(ge=0, le=10_000_000)]


class Part(BaseModel):
    """A group of fields; one that is unknown is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(Part):
    """Where the one port is."""

    host: str = Field(default="", description="name or address of this host; empty = all its addresses")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=443, description="0 = one that is free")
    reuse_port: bool = Field(
        default=False, description="let a second relay of the same user share the port, for an upgrade without a gap"
    )


class UnixSocket(Part):
    """Where users of this host come."""

    path: AbsolutePath = Field(description="made at the start; whatever is there is replaced")
    mode: Annotated[str, AfterValidator(_check_mode)] = Field(default="0660", description="who may connect")
    group: str | None = Field(default=None, description="group of the socket; null = the relay's own")


class Metrics(Part):
    """Where Prometheus comes."""

    address: Annotated[str, AfterValidator(_check_address)] = Field(
        description="host:port, or the path of a unix socket (mode 0660)"
    )
    token_file: AbsolutePath | None = Field(
        default=None, description="file with the bearer token to ask for; needed where others than this host can come"
    )

    @model_validator(mode="after")
    def _check(self) -> Metrics:
        if not self.address.startswith("/") and not is_loopback(split_address(self.address)[0]) and not self.token_file:
            raise ValueError(f"anybody could read {self.address!r}; set token_file, or write 127.0.0.1")
        return self


#: Tells users of several providers of one type apart.
Realm = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class UnixIdentity(Part):
    """Users of this host, by the system's own word: ``unix:<user>``."""

    type: Literal["unix"] = Field(description="`unix`")
    allow: Literal["any"] | Annotated[list[str | int], Field(min_length=1)] = Field(
        default="any", description="any, or a list of user names and ids"
    )


class HubIdentity(Part):
    """Users of a JupyterHub, by their API token: ``hub:<user>``, or ``hub:<realm>:<user>``."""

    type: Literal["jupyterhub"] = Field(description="`jupyterhub`")
    api_url: Url = Field(description="of the Hub's API, such as https://hub.example.org/hub/api")
    realm: Realm | None = Field(
        default=None,
        description="before the user's name; needed with several Hubs, the same where names are the same people",
    )
    groups: list[str] = Field(
        default=[], description="groups of the Hub of which a user must be in one; empty = all users"
    )
    ca_file: AbsolutePath | None = Field(default=None, description="authority of its certificate; null = the system's")
    timeout_s: Seconds = Field(default=5, description="how long to wait for it")


class OidcIdentity(Part):
    """Users of an OpenID Connect provider, by a token of theirs for this relay: ``oidc:<realm>:<user>``."""

    type: Literal["oidc"] = Field(description="`oidc`")
    issuer: SecureUrl = Field(description="exactly as it is in tokens")
    audience: Annotated[str, Field(min_length=1)] = Field(description="which tokens must be for")
    realm: Realm | None = Field(default=None, description="before the user's name; null = the host of the issuer")
    claim: str = Field(default="sub", description="claim with the user's name, which must never pass to somebody else")
    require: dict[str, str] = Field(default={}, description="claims that must have this value, or a list with it in it")
    ca_file: AbsolutePath | None = Field(default=None, description="authority of its certificate; null = the system's")
    timeout_s: Seconds = Field(default=5, description="how long to wait for it")


class KubernetesIdentity(Part):
    """Service accounts of a Kubernetes cluster, by their token: ``k8s:<user>``, or ``k8s:<realm>:<user>``."""

    type: Literal["kubernetes"] = Field(description="`kubernetes`")
    api_url: SecureUrl = Field(default="https://kubernetes.default.svc", description="of the API server")
    audiences: Annotated[list[str], Field(min_length=1)] = Field(
        description="of which a token must be for one; never the API server's own"
    )
    realm: Realm | None = Field(default=None, description="before the account's name; needed with several clusters")
    namespaces: list[str] = Field(default=[], description="of which the account must be in one; empty = all")
    token_file: AbsolutePath = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        description="the relay's own token, whose account may create TokenReviews (role system:auth-delegator)",
    )
    ca_file: AbsolutePath | None = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"),
        description="authority of the API server's certificate; null = the system's",
    )
    timeout_s: Seconds = Field(default=5, description="how long to wait for it")


def prefix_of(identity: UnixIdentity | HubIdentity | OidcIdentity | KubernetesIdentity) -> str:
    """Return what the identities of a provider begin with."""
    if isinstance(identity, UnixIdentity):
        return "unix:"
    if isinstance(identity, OidcIdentity):
        return f"oidc:{identity.realm or urlsplit(identity.issuer).hostname}:"
    kind = "hub" if isinstance(identity, HubIdentity) else "k8s"
    return f"{kind}:{identity.realm}:" if identity.realm else f"{kind}:"


def _checked_realms(
    identities: list[UnixIdentity | HubIdentity | OidcIdentity | KubernetesIdentity],
) -> list[UnixIdentity | HubIdentity | OidcIdentity | KubernetesIdentity]:
    """See that no user of one provider is taken for one of another, because nobody thought of it."""
    for kind in (HubIdentity, OidcIdentity, KubernetesIdentity):
        some = [one for one in identities if isinstance(one, kind)]
        unsaid = [one for one in some if one.realm is None]
        same = len({prefix_of(one) for one in some}) < len(some)
        if len(some) > 1 and unsaid and (same or kind is not OidcIdentity):
            raise ValueError(
                f"users of several identities of type {unsaid[0].type} could be taken for each other; set realm in each"
            )
    return identities


AnyIdentity = Annotated[UnixIdentity | HubIdentity | OidcIdentity | KubernetesIdentity, Field(discriminator="type")]


class Quota(Part):
    """What one identity may have."""

    clusters: Count = Field(default=20, description="clusters that are admitted at the same time")
    peers: Count = Field(default=2000, description="registered schedulers, workers and nannies of all its clusters")
    connections: Count = Field(default=8000, description="connections through the relay of all its clusters")


class QuotaFor(Quota):
    """What identities of a kind may have."""

    identity: str = Field(description="pattern such as `hub:*` or `unix:alice`; the first that fits counts")


class Limits(Part):
    """Bounds of the relay process, whoever comes. By source address; IPv6 addresses count by their /64."""

    connections: Count = Field(default=_DEFAULT.connections, description="of every kind")
    connections_per_source: Count | None = Field(default=_DEFAULT.connections_per_source, description="null = no bound")
    silent: Count = Field(default=_DEFAULT.silent, description="connections that have not said what they want")
    silent_per_source: Count | None = Field(default=_DEFAULT.silent_per_source, description="null = no bound")
    handshakes: Count = Field(default=_DEFAULT.handshakes, description="unfinished TLS handshakes, 60 kB each")
    handshakes_per_source: Count | None = Field(default=_DEFAULT.handshakes_per_source, description="null = no bound")
    services: Count = Field(default=_DEFAULT.services, description="connections to the relay's own HTTPS")
    services_per_source: Count | None = Field(default=_DEFAULT.services_per_source, description="null = no bound")
    held: Count = Field(default=_DEFAULT.held, description="connections of a cluster that wait for a peer to come back")
    hello_s: Seconds = Field(default=_DEFAULT.hello_s, description="to say what one wants")
    handshake_s: Seconds = Field(default=_DEFAULT.handshake_s, description="for a TLS handshake")
    register_s: Seconds = Field(default=_DEFAULT.register_s, description="to register after it")
    dial_back_s: Seconds = Field(default=_DEFAULT.dial_back_s, description="for a peer to take a connection")
    keepalive_s: Seconds = Field(default=_DEFAULT.keepalive_s, description="between two signs of life of a peer")
    grace_s: Seconds = Field(
        default=_DEFAULT.grace_s, description="after a start, or after a peer was lost, connections wait for the peer"
    )
    hold_s: Seconds = Field(default=_DEFAULT.hold_s, description="how long they wait")

    def of_hub(self) -> HubLimits:
        """Return them as the data plane takes them."""
        return HubLimits(**self.model_dump())


class RelayConfig(Part):
    """All of ``relay.yaml``."""

    domain: Annotated[str, AfterValidator(_check_domain)] = Field(
        description="the relay's own name, which is in its certificate; nothing below it needs to be known to DNS"
    )
    certificate_file: AbsolutePath = Field(description="PEM: its certificate, and those between it and its authority")
    key_file: AbsolutePath | None = Field(default=None, description="PEM: its key; null = in certificate_file")
    state_dir: AbsolutePath = Field(description="folder for leases, of the relay alone; made if it is not there")
    listen: Listen = Field(default=Listen(), description="where the one port is")
    unix_socket: UnixSocket | None = Field(default=None, description="where users of this host come; null = nowhere")
    metrics: Metrics | None = Field(default=None, description="where Prometheus comes; null = nowhere")
    identities: Annotated[list[AnyIdentity], Field(min_length=1), AfterValidator(_checked_realms)] = Field(
        description="who may have clusters here, by who vouches for them"
    )
    quota: Quota = Field(default=Quota(), description="what one identity may have")
    quotas: list[QuotaFor] = Field(default=[], description="what some may have instead")
    longest_lease_s: Annotated[Seconds, Field(ge=1)] = Field(
        default=3600, description="how long a cluster stays admitted without its keeper, whatever it asks for"
    )
    shortest_lease_s: Annotated[Seconds, Field(ge=1)] = Field(
        default=60, description="what is granted to whoever asks for less"
    )
    limits: Limits = Field(default=Limits(), description="bounds of the relay process")
    drain_s: Seconds = Field(
        default=30, description="how long it goes on for those who are connected, when it is to end"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="what to log at least")

    @model_validator(mode="after")
    def _check(self) -> RelayConfig:
        if self.unix_socket is None and any(isinstance(i, UnixIdentity) for i in self.identities):
            raise ValueError("users of this host cannot come; set unix_socket, or remove the identity of type unix")
        if self.shortest_lease_s > self.longest_lease_s:
            raise ValueError(
                f"shortest_lease_s {self.shortest_lease_s:g} is more than longest_lease_s {self.longest_lease_s:g};"
                " write less"
            )
        return self
