"""What crosses the keeper's socket: the only definition of the wire types.

TypeScript types, the OpenAPI document, the site-file check and the reference docs are made from these models.
Units stand in names: ``*_bytes`` bytes, ``*_s`` seconds, ``*_at``/``*_since`` RFC 3339 times in UTC, ``*_fraction`` 0 to 1.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .units import parse_bytes, parse_duration_s

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$"
ID_PATTERN = r"^[a-z0-9][a-z0-9-]{5,39}$"
SLUG_PATTERN = r"^[a-z0-9][a-z0-9-]{0,39}$"
#: Hard ceiling of the schema; the real limit is the profile's and is far lower.
MAXIMUM_WORKERS = 10_000
#: Ten years: an end beyond the calendar cannot be computed.
MAXIMUM_S = 10 * 365 * 86400
#: What JavaScript still counts exactly.
MAXIMUM_BYTES = 2**53 - 1

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")


def _check_env(env: dict[str, str]) -> dict[str, str]:
    for name in env:
        if not _ENV_NAME.match(name):
            raise ValueError(f"{name!r} is no name of an environment variable; use letters, digits and _")
    return env


def _check_modules(modules: list[str]) -> list[str]:
    for module in modules:
        if not _MODULE.match(module):
            raise ValueError(f"{module!r} is no importable module name; write for example 'mypackage.corrections'")
    return modules


# The limits stand before the parser, so that JSON Schema has them too.
Bytes = Annotated[int, Field(ge=1, le=MAXIMUM_BYTES), BeforeValidator(parse_bytes)]
Seconds = Annotated[int, Field(ge=0, le=MAXIMUM_S), BeforeValidator(parse_duration_s)]
EnvironmentVariables = Annotated[dict[str, str], AfterValidator(_check_env)]
Modules = Annotated[list[str], AfterValidator(_check_modules)]


class Model(BaseModel):
    """Base of all wire types: unknown fields are errors, so that a typing mistake is never ignored."""

    model_config = ConfigDict(extra="forbid")


# ---------------------------------------------------------------- why
class Phase(StrEnum):
    """Where a cluster is in its life. ``stopped`` and ``failed`` are final."""

    pending = "pending"
    starting = "starting"
    running = "running"
    stopping = "stopping"
    stopped = "stopped"
    failed = "failed"


class Desired(StrEnum):
    """What the owner wants."""

    running = "running"
    stopped = "stopped"


class ReasonCode(StrEnum):
    """Why a cluster is in its phase. Each code has an entry in ``docs/reference/reasons.md``."""

    accepted = "accepted"
    scheduler_starting = "scheduler-starting"
    waiting_for_workers = "waiting-for-workers"
    some_workers = "some-workers"
    all_workers = "all-workers"
    no_workers_requested = "no-workers-requested"
    worker_restarted = "worker-restarted"
    worker_over_memory = "worker-over-memory"
    workers_failing = "workers-failing"
    relay_unreachable = "relay-unreachable"
    relay_refused = "relay-refused"
    no_capacity = "no-capacity"
    node_not_ready = "node-not-ready"
    access_denied = "access-denied"
    quota_exceeded = "quota-exceeded"
    site_refused = "site-refused"
    site_silent = "site-silent"
    site_queued = "site-queued"
    queued_too_long = "queued-too-long"
    image_failed = "image-failed"
    files_missing = "files-missing"
    not_connected = "not-connected"
    worker_unreachable = "worker-unreachable"
    version_mismatch = "version-mismatch"
    ended_by_site = "ended-by-site"
    left_at_site = "left-at-site"
    module_failed = "module-failed"
    cannot_see = "cannot-see"
    other_host = "other-host"
    stop_requested = "stop-requested"
    idle_timeout = "idle-timeout"
    lifetime_over = "lifetime-over"
    host_restarted = "host-restarted"
    scheduler_start_failed = "scheduler-start-failed"
    scheduler_start_timeout = "scheduler-start-timeout"
    scheduler_died = "scheduler-died"
    scheduler_not_reached = "scheduler-not-reached"
    deleted_at_site = "deleted-at-site"
    supervisor_died = "supervisor-died"
    server_ended = "server-ended"
    environment_unusable = "environment-unusable"
    site_missing = "site-missing"
    disk_full = "disk-full"


class Reason(Model):
    """A code for programs and a sentence for people, with what to do about it if anything can be done."""

    code: ReasonCode
    message: str
    hint: str | None = None


# ---------------------------------------------------------------- sites
class Accelerator(Model):
    """A countable resource with a model, such as ``nvidia.com/gpu`` A100; ``count`` pieces per worker."""

    resource: str = Field(description="name of the resource, such as 'nvidia.com/gpu'")
    model: str | None = Field(default=None, description="as people call it, such as 'A100'")
    count: int = Field(default=1, ge=1, description="pieces of one worker")


class Profile(Model):
    """A named worker size at a site with its limits."""

    name: str = Field(pattern=SLUG_PATTERN, description="lower-case letters, digits and '-', at most 40")
    title: str = Field(default="", description="shown in lists; empty = the name")
    cores: int = Field(ge=1, le=1024, description="threads of one worker")
    memory_bytes: Bytes = Field(description="memory limit of one worker")
    maximum_cores: int | None = Field(
        default=None, ge=1, le=1024, description="most cores a user may ask for one worker; null = cores"
    )
    maximum_memory_bytes: Bytes | None = Field(
        default=None, description="most memory a user may ask for one worker; null = memory_bytes"
    )
    accelerators: list[Accelerator] = Field(default=[], description="what one worker gets besides cores and memory")
    architecture: Literal["amd64", "arm64"] | None = Field(default=None, description="of the workers; null = any")
    maximum_workers: int = Field(default=100, ge=1, le=MAXIMUM_WORKERS, description="most workers of one cluster")
    walltime_s: Seconds | None = Field(default=None, description="the site ends a worker after this; null = no limit")
    idle_timeout_s: Seconds | None = Field(default=None, description="default of new clusters; 0 = never")
    lifetime_s: Seconds | None = Field(default=None, description="default of new clusters; 0 = no end")
    maximum_lifetime_s: Seconds | None = Field(default=None, description="most a user may ask for; null = no limit")


class HealthState(StrEnum):
    """``unknown`` means nobody could look; it is not ``unhealthy``."""

    healthy = "healthy"
    unhealthy = "unhealthy"
    unknown = "unknown"


class Health(Model):
    """Whether a site can take work, and what to do when it cannot."""

    state: HealthState
    message: str = ""
    hint: str | None = None
    checked_at: datetime | None = None
    last_heard_at: datetime | None = Field(default=None, description="the site's last sign of life; null = unknown")


class AcceleratorCapacity(Model):
    """Pieces of one accelerator; ``free`` is null where nobody can know it.

    ``title`` is what people call it, such as ``A100``, ``A100 slice 1g.10gb`` or ``U50 FPGA``.
    """

    resource: str
    model: str | None = None
    kind: Literal["gpu", "gpu-slice", "fpga", "other"] = "other"
    title: str = ""
    total: int | None = None
    free: int | None = None


class Capacity(Model):
    """What a site has and what is free; null means unknown and is shown as unknown."""

    cores_total: int | None = None
    cores_free: int | None = None
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None
    accelerators: list[AcceleratorCapacity] = []
    source: Literal["measured", "site", "nominal"] = Field(
        default="measured", description="measured here, told by the site, or only what its operator declared"
    )
    expected_start_s: float | None = Field(default=None, description="how long a worker took to arrive of late")


class WorkerImage(Model):
    """What the workers of a site may run where that is not the kernel's own Python."""

    name: str = Field(pattern=SLUG_PATTERN, description="lower-case letters, digits and '-', at most 40")
    title: str = Field(default="", description="shown in lists; empty = the name")
    image: str = Field(min_length=1, description="as the site wants it: a registry reference, a path, ...")
    python: str = Field(default="python3", description="its Python with distributed, a name or a path in the image")


class SiteDefinition(Model):
    """A site as its administrator writes it in ``<jupyter config>/offload/sites/<name>.yaml``."""

    name: str = Field(pattern=SLUG_PATTERN, description="the file's name without .yaml, which is also its default")
    title: str = Field(default="", description="shown in lists; empty = the name")
    description: str = Field(default="", description="a sentence for users")
    backend: str = Field(pattern=SLUG_PATTERN, description="the kind of site, such as 'local'")
    profiles: list[Profile] = Field(min_length=1, description="worker sizes, at least one")
    default_profile: str | None = Field(default=None, description="name of a profile; null = the first one")
    images: list[WorkerImage] = Field(default=[], description="what workers may run, the default first")
    maximum_clusters: int = Field(default=20, ge=1, description="unfinished clusters of one user")
    options: dict[str, Any] = Field(default={}, description="what only this backend understands")

    @model_validator(mode="after")
    def _default_exists(self) -> SiteDefinition:
        names = [p.name for p in self.profiles]
        if len(set(names)) != len(names):
            raise ValueError(f"profile names must differ, they are {', '.join(names)}")
        if self.default_profile is not None and self.default_profile not in names:
            raise ValueError(f"default_profile {self.default_profile!r} is not one of {', '.join(names)}")
        images = [i.name for i in self.images]
        if len(set(images)) != len(images):
            raise ValueError(f"image names must differ, they are {', '.join(images)}")
        return self


class Site(Model):
    """A place with workers as the user sees it: the definition with its health and capacity of now."""

    name: str
    title: str
    description: str = ""
    backend: str
    profiles: list[Profile]
    default_profile: str | None = None
    images: list[WorkerImage] = []
    maximum_clusters: int
    health: Health
    capacity: Capacity
    architectures: list[str] = Field(default=[], description="of its nodes, such as 'amd64'; empty = unknown")
    unavailable: dict[str, str] = Field(
        default={}, description="profiles that cannot be had now, by name, each with the reason as a sentence"
    )
    encrypted: bool = Field(default=True, description="whether TLS protects what clients and workers exchange")


class SiteList(Model):
    """All sites, usable or not."""

    sites: list[Site]


class Environment(Model):
    """What scheduler and workers run: the Python of one kernelspec.

    ``usable`` is false where Dask is missing; ``problem`` then names the package and ``hint`` the pip line.
    """

    name: str
    title: str
    python: str
    python_version: str | None = None
    versions: dict[str, str] = Field(default={}, description="dask, distributed, and our own if it is there")
    usable: bool
    problem: str | None = None
    hint: str | None = None
    default: bool = False


class EnvironmentList(Model):
    """All environments of this host, usable or not."""

    environments: list[Environment]


# ---------------------------------------------------------------- clusters
class Adaptive(Model):
    """The keeper moves the number of workers between these, after what the scheduler asks for."""

    minimum: int = Field(default=0, ge=0, le=MAXIMUM_WORKERS)
    maximum: int = Field(ge=1, le=MAXIMUM_WORKERS)

    @model_validator(mode="after")
    def _ordered(self) -> Adaptive:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}; swap them")
        return self


class ClusterSpec(Model):
    """What the user asks for; the same in Lab, the notebook API, the command line and headless runs."""

    name: str = Field(pattern=NAME_PATTERN, description="letters, digits, '.', '_' and '-', at most 40")
    site: str = "local"
    profile: str | None = Field(default=None, description="null = the site's default profile")
    workers: int = Field(default=2, ge=0, le=MAXIMUM_WORKERS, description="at the start, when adaptive is set")
    adaptive: Adaptive | None = None
    cores: int | None = Field(default=None, ge=1, le=1024, description="of one worker; null = the profile's")
    memory_bytes: Bytes | None = Field(default=None, description="of one worker; null = the profile's")
    environment: str | None = Field(default=None, description="kernelspec name or path of a Python; null = the default")
    image: str | None = Field(default=None, description="name of one of the site's images; null = its first, if any")
    idle_timeout_s: Seconds | None = Field(default=None, description="null = the profile's default; 0 = never")
    lifetime_s: Seconds | None = Field(default=None, description="null = the profile's default; 0 = no end")
    env: EnvironmentVariables = Field(default={}, description="environment variables of workers and scheduler")
    modules: Modules = Field(default=[], description="imported by scheduler and workers when they start")


class ClusterRequest(Model):
    """Create a cluster. With an id the request may be repeated: same id and spec give the same record."""

    id: str | None = Field(default=None, pattern=ID_PATTERN)
    spec: ClusterSpec


class ClusterChange(Model):
    """Change a running cluster; fields left out stay. ``adaptive: null`` turns adaptive scaling off."""

    workers: int | None = Field(default=None, ge=0, le=MAXIMUM_WORKERS)
    adaptive: Adaptive | None = None
    idle_timeout_s: Seconds | None = None
    lifetime_s: Seconds | None = Field(default=None, description="counted from created_at")


class WorkerStage(StrEnum):
    """How far a worker at a remote site got, in this order."""

    submitted = "submitted"  # the site's front end has the request
    scheduled = "scheduled"  # a node was chosen
    accepted = "accepted"  # the site took it and gave it a number
    queued = "queued"  # it waits in the site's own queue
    started = "started"  # its container or job runs
    registered = "registered"  # it found the scheduler
    proven = "proven"  # a timed round trip to it succeeded


class WorkerState(StrEnum):
    """``connected`` means: registered, and a timed round trip to it succeeded."""

    starting = "starting"
    connected = "connected"
    paused = "paused"
    retiring = "retiring"
    lost = "lost"


class Worker(Model):
    """One worker of a cluster."""

    name: str
    state: WorkerState
    address: str | None = None
    pid: int | None = None
    cores: int
    memory_bytes: int = Field(description="its limit")
    memory_used_bytes: int = 0
    spilled_bytes: int = 0
    cpu_fraction: float = Field(default=0, description="of its cores")
    tasks_done: int = 0
    executing: int = 0
    restarts: int = 0
    message: str | None = Field(default=None, description="why it waits or was lost, as a sentence")
    code: ReasonCode | None = Field(default=None, description="the same for programs")
    hint: str | None = None
    stage: WorkerStage | None = Field(default=None, description="null = local, or unknown")
    stage_since: datetime | None = None
    deadline_at: datetime | None = Field(default=None, description="when this stage is given up")
    site_id: str | None = Field(default=None, description="its number at the site, such as a job id")
    round_trip_s: float | None = Field(default=None, description="of the first exchange with it")
    versions: dict[str, str] = Field(default={}, description="of its Python and of what it shares with the scheduler")


class WorkerCounts(Model):
    """How much arrived: ``requested`` is what the keeper wants now."""

    requested: int
    starting: int = 0
    connected: int = 0


class Usage(Model):
    """How busy the cluster is, over its connected workers."""

    cores: int = 0
    memory_bytes: int = 0
    memory_used_bytes: int = 0
    busy_fraction: float = Field(default=0, description="executing tasks / cores, at most 1")
    tasks_done: int = 0
    tasks_waiting: int = 0
    clients: int = 0


class End(Model):
    """When and why a cluster will end by itself if nothing changes."""

    at: datetime
    because: Literal["idle", "lifetime", "walltime"]


class Cluster(Model):
    """One cluster: what was asked, what is seen, and why."""

    id: str
    name: str
    spec: ClusterSpec
    profile: Profile = Field(description="the resolved worker size, as it was when the cluster was made")
    site_title: str
    owner: str
    host: str
    desired: Desired
    phase: Phase
    phase_since: datetime
    reason: Reason
    created_at: datetime
    revision: int = Field(description="the ETag; changes with spec, desired, phase, reason or worker counts")
    workers: WorkerCounts
    worker_list: list[Worker] = []
    left_at_site: list[str] = Field(
        default=[], description="what its site still holds of a cluster that has ended or ends"
    )
    usage: Usage = Usage()
    end: End | None = None
    idle_since: datetime | None = None
    ends_with_server: bool = Field(default=False, description="the Hub ends this cluster together with the server")
    connectable: bool = Field(default=False, description="a client can connect now")
    dashboard: bool = Field(default=False, description="dashboards can be shown now")
    encrypted: bool = Field(default=True, description="whether TLS protects what clients and workers exchange")
    adopted: bool = Field(default=False, description="found at the site, where it was made by other means")


class ClusterList(Model):
    """All clusters of this user on this host, newest first, at one revision of the store."""

    revision: int
    clusters: list[Cluster]


class Preview(Model):
    """What will be submitted, read-only, with anything the user should know before."""

    kind: Literal["command", "script", "pod"]
    text: str
    spec: ClusterSpec
    profile: Profile
    warnings: list[str] = []


class TimelineEntry(Model):
    """One thing that happened to a cluster and why; ``code`` is a reason code or an event of a worker."""

    at: datetime
    level: Literal["info", "warning", "error"] = "info"
    code: str
    message: str
    worker: str | None = None


class Timeline(Model):
    """What happened to a cluster, oldest first."""

    entries: list[TimelineEntry]


class LogSource(Model):
    """One log file of a cluster; it stays when its process is gone."""

    name: str
    role: Literal["supervisor", "scheduler", "worker"]
    size_bytes: int
    modified_at: datetime


class LogSources(Model):
    """Log files of a cluster."""

    sources: list[LogSource]


class LogChunk(Model):
    """A piece of one log, from ``offset`` (bytes); ask again with ``next_offset``."""

    source: str
    offset: int
    next_offset: int
    size_bytes: int
    text: str


class TLSFiles(Model):
    """Paths of PEM files, readable by the owner only."""

    ca_file: str
    cert_file: str
    key_file: str


class RelayWay(Model):
    """The relay through which workers that can only dial out are reached directly."""

    addresses: list[str]
    domain: str
    ca_file: str | None = None
    resume_s: float


class Connection(Model):
    """How a client on this host connects: address and paths, never key material."""

    id: str
    name: str
    scheduler_address: str
    tls: TLSFiles | None = Field(description="null = this cluster's connections are not encrypted")
    connection_file: str = Field(description="the same as JSON, for kernels without this package")
    relay: RelayWay | None = Field(default=None, description="for direct transfers with workers; null = none is needed")


class DashboardTarget(Model):
    """Where the keeper's host serves this cluster's dashboard: a private unix socket."""

    socket: str
    plots: list[DashboardPlot]


class DashboardPlot(Model):
    """One Dask dashboard page: ``path`` below the dashboard root."""

    title: str
    path: str


class DashboardTicket(Model):
    """A path under the server's base URL that shows the dashboard until ``expires_at``; renew it before."""

    path: str
    expires_at: datetime


class Changes(Model):
    """What changed after ``since``: look again at these."""

    revision: int
    clusters: list[str] = []
    sites: bool = False


class KeeperHealth(Model):
    """Who answers, and which release and API it speaks."""

    version: str
    api: int
    pid: int
    host: str
    started_at: datetime
    clusters_active: int
    ends_with_server: bool


# ---------------------------------------------------------------- doctor
class Finding(Model):
    """One thing the doctor looked at."""

    check: str
    state: Literal["ok", "warning", "error"]
    message: str
    hint: str | None = None


class Findings(Model):
    """All the doctor found."""

    findings: list[Finding]


class Swept(Model):
    """Something that was left at a site and belongs to no cluster."""

    site: str
    cluster: str = Field(description="id of the cluster that it was of")
    what: str
    state: Literal["found", "deleted", "deleting"] = Field(description="deleting: the site has not confirmed it yet")


class SweepReport(Model):
    """What a sweep found and did; ``problems`` are sites that could not be asked."""

    swept: list[Swept]
    problems: list[Finding] = []


# ---------------------------------------------------------------- errors
class FieldProblem(Model):
    """One mistake in the input: where, what, and how to mend it."""

    field: str
    message: str
    hint: str | None = None


class ProblemDocument(Model):
    """``application/problem+json`` (RFC 9457) as every door shows it."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    hint: str | None = None
    transient: bool = False
    request_id: str | None = None
    errors: list[FieldProblem] = []
