"""The contracts between the keeper and what it drives. Read this first.

A **backend** knows one kind of site and nothing else: it starts, observes and stops *workers*. The Dask scheduler of each
cluster is a process of its own that the keeper starts for every backend alike (``keeper/schedulers.py``); a backend reaches
it, where it must, through ``ClusterContext.control``.

Promises every backend keeps (``backends/conformance.py`` tests them):

- ``submit`` returns fast and calls ``save`` with the new handle as soon as anything exists at the site, so that a crash
  half-way still knows what to delete. The handle is opaque JSON that only the backend reads.
- ``submit`` and ``cancel`` are declarative and idempotent: naming a worker that is there, or one that is gone, is success.
- ``observe`` looks at the site **once for all clusters**. What it could not see it leaves out or marks ``visible=False``;
  it never reports as gone what it could not see.
- Errors are ``OffloadError``; ``transient`` says whether the loop should try again. No retries inside a backend.
- Nothing blocks the event loop, and every external call has a timeout.

Where workers can only open connections and none can be opened towards them, the backend declares ``Capability.dial_out``.
The keeper then sees to a relay, and ``ClusterContext.dial_out`` gives each job or pod what it needs to come in through it:
certificates of its own, and Dask's configuration. The environment there needs ``distributed`` and nothing of this package:
``worker/job.py`` says how the file that travels is started, and what it is told.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from .api.models import (
    Adaptive,
    Capacity,
    ClusterSpec,
    Finding,
    Health,
    Preview,
    Profile,
    Reason,
    SiteDefinition,
    Worker,
)

#: Opaque state of a backend for one cluster, JSON-serialisable; saved in the record.
Handle = dict[str, Any]
SaveHandle = Callable[[Handle], Awaitable[None]]


class Capability(StrEnum):
    """Optional powers, declared and not discovered by failure."""

    own_scheduler = "own-scheduler"  # the site runs the scheduler too, so that the keeper starts none
    unencrypted = "unencrypted"  # no TLS between client, scheduler and workers; shown wherever the site is
    scale_down_choice = "scale-down-choice"  # can stop exactly the workers it is told to
    local_workers = "local-workers"  # the scheduler's own supervisor forks the workers
    dial_out = "dial-out"  # nothing can connect to the workers, so that they need a relay


class SchedulerControl(Protocol):
    """The keeper's line to one scheduler process (``docs/reference/control-protocol.md``)."""

    async def call(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and return its answer.

        Raises:
            Unavailable: the process does not answer within the timeout.
            NotNow: it answers that the operation is not possible now.
        """
        ...


@dataclass(frozen=True)
class JobCredentials:
    """What lets the workers of one job or pod into its cluster. Secret: deliver the files with mode 0600, nothing by ``env``.

    Attributes:
        host: what ``dask worker --host`` is told: the beginning of the names that its certificate covers.
        scheduler_address: where its workers find the scheduler.
        files: names and contents, for a folder at the site.
        expires_at: seconds since the epoch.
    """

    host: str
    scheduler_address: str
    files: Mapping[str, bytes]
    expires_at: float
    relay: Mapping[str, Any] = field(default_factory=dict)

    CA: ClassVar[str] = "ca.pem"
    WORKER: ClassVar[str] = "worker.pem"
    RELAY_CA: ClassVar[str] = "relay-ca.pem"

    def dask_config(self, folder: str) -> dict[str, Any]:
        """Return Dask's configuration of the workers, with the files in ``folder`` as it is called at the site."""
        own = {"cert": f"{folder}/{self.WORKER}", "key": f"{folder}/{self.WORKER}"}
        relay_ca = f"{folder}/{self.RELAY_CA}" if self.RELAY_CA in self.files else None
        # client: for tasks that submit tasks
        tls = {"ca-file": f"{folder}/{self.CA}", "worker": own, "client": own}
        return {
            "relay": {**self.relay, "ca-file": relay_ca},
            "distributed": {"comm": {"require-encryption": True, "tls": tls}},
        }


class DialOut(Protocol):
    """How the workers of one cluster come in through the relay. A job is what gets and loses its credentials as one.

    A name of a job has at most 32 lower-case letters and digits. No two jobs of a cluster may share one, since they could then
    take each other's place.
    """

    async def credentials(self, job: str, valid_s: float) -> JobCredentials:
        """Return new credentials of a job, valid for ``valid_s``: its deadline in the queue and its walltime.

        Raises:
            ValueError: the job has no such name.
            NotNow: the cluster is over.
            Unavailable: a file of the relay cannot be read now.
        """
        ...

    async def revoke(self, job: str) -> None:
        """Have the relay refuse a job that is over, and cut what it still has open. Idempotent.

        A relay that cannot be told now is told as soon as it can be.
        """
        ...


@dataclass(frozen=True)
class ClusterContext:
    """What a backend may know about a cluster.

    ``owner`` is a random name of the user's data folder, the same for every keeper of it: 16 lower-case letters and digits.
    Label with it whatever is made at the site. ``user`` is for people: not unique, and any text.
    """

    id: str
    name: str
    owner: str
    user: str
    spec: ClusterSpec
    profile: Profile
    handle: Handle
    control: SchedulerControl | None  # None until the scheduler answered once
    dial_out: DialOut | None = None  # only for a backend that declares it


@dataclass(frozen=True)
class WorkersSeen:
    """What a site shows of one cluster's workers.

    ``visible`` is false when the site could not be asked; ``workers`` is then meaningless, not empty.
    ``problem`` is why workers are missing, for the card: what most of them wait for, or why the site refuses or loses them.
    A worker that the site lost is reported as ``lost`` (with code, message and hint) until ``submit`` has replaced it.
    ``halted`` says that too many were lost in a row: no more are started until another number of workers is asked for.
    """

    visible: bool = True
    workers: Sequence[Worker] = ()
    problem: Reason | None = None
    halted: bool = False


@dataclass(frozen=True)
class Owned:
    """Something at a site that carries our labels: what a sweep may delete.

    ``what`` names it for people; ``made_at`` is seconds since the epoch, None where the site does not tell.
    """

    cluster_id: str
    what: str
    handle: Handle = field(default_factory=dict)
    made_at: float | None = None


class SchedulerState(StrEnum):
    """What the site shows of a scheduler that it runs itself."""

    absent = "absent"  # the site holds no such cluster
    starting = "starting"
    ready = "ready"
    failed = "failed"  # it will not come; ``problem`` says why


@dataclass(frozen=True)
class SchedulerAt:
    """A scheduler that the site runs (``Capability.own_scheduler``).

    Attributes:
        address: where clients of this host reach it; None while they do not, and ``problem`` says what would help.
        dashboard: host and port of its pages by plain HTTP, if they are reached from here.
        problem: why it is not ready, not reached, or not what was asked for.
        workers: how many workers the site aims at; None if that is not known.
        adaptive: between which numbers the site moves that by itself, if it does.
        agrees: whether the rest of what the spec asks for (such as the idle timeout) is what the site has.
        usage: ``clients``, ``tasks_waiting``, ``busy_fraction``, as far as they are known.
    """

    state: SchedulerState
    address: str | None = None
    dashboard: tuple[str, int] | None = None
    problem: Reason | None = None
    workers: int | None = None
    adaptive: Adaptive | None = None
    agrees: bool = True
    usage: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundCluster:
    """A cluster at a site that this user made by other means, such as ``KubeCluster()``. ``id`` is the site's, for ever."""

    id: str
    name: str
    handle: Handle
    profile: Profile
    workers: int
    adaptive: Adaptive | None
    created_at: float


class Backend(ABC):
    """One kind of site. Construct with the definition; raise ``BadInput`` when its options are wrong."""

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    def __init__(self, site: SiteDefinition) -> None:
        self.site = site

    @classmethod
    async def discover(cls, definition: SiteDefinition) -> Sequence[SiteDefinition] | None:
        """Return the sites that a definition stands for, where it describes a place with several; None for a site itself.

        Raises:
            OffloadError: the place cannot be asked now; the sites found before stay.
        """
        return None

    @abstractmethod
    async def health(self) -> Health:
        """Return whether the site can take work now. Never raises for a site that is merely down."""

    @abstractmethod
    async def capacity(self) -> Capacity:
        """Return what the site has and what is free; None for what cannot be known."""

    async def unavailable(self) -> Mapping[str, str]:
        """Return the profiles that cannot be had now, by name, each with the reason as a sentence."""
        return {}

    def architectures(self) -> Sequence[str]:
        """Return the architectures of the site's nodes as last seen, such as ``amd64``; empty where they are not known."""
        return ()

    @abstractmethod
    async def check(self) -> Sequence[Finding]:
        """Return what ``jupyter offload sites check`` prints: each thing looked at, with the remedy."""

    @abstractmethod
    def preview(self, spec: ClusterSpec, profile: Profile, python: str) -> Preview:
        """Return what would be submitted, as the user may read it: no secrets, no side effects."""

    @abstractmethod
    async def submit(self, cluster: ClusterContext, workers: int, save: SaveHandle) -> None:
        """Make the site hold ``workers`` workers of this cluster, by adding or by retiring idle ones first."""

    @abstractmethod
    async def observe(self, clusters: Sequence[ClusterContext]) -> Mapping[str, WorkersSeen]:
        """Return what the site shows, by cluster id, with one look for all."""

    @abstractmethod
    async def cancel(self, cluster: ClusterContext) -> Sequence[str]:
        """Delete everything of this cluster, found by its labels and not only by its handle. Idempotent.

        Returns:
            What the site still holds, as people may read it; empty once the site confirms that nothing is left.
        """

    @abstractmethod
    async def find_owned(self, owner: str) -> Sequence[Owned]:
        """Return everything at the site that carries this owner's label, known to the keeper or not.

        Raises:
            OffloadError: the site cannot be asked.
        """

    async def launch(self, cluster: ClusterContext, workers: int, save: SaveHandle) -> None:
        """Start a scheduler and workers (``Capability.own_scheduler``); what is there already is success."""
        raise NotImplementedError

    async def scheduler(self, cluster: ClusterContext) -> SchedulerAt:
        """Return what the site shows of a cluster's scheduler (``Capability.own_scheduler``).

        Raises:
            OffloadError: the site cannot be asked now.
        """
        raise NotImplementedError

    async def found(self, owner: str) -> Sequence[FoundCluster]:
        """Return clusters at the site that are this user's and that no keeper made (``Capability.own_scheduler``).

        Raises:
            OffloadError: the site cannot be asked now.
        """
        return ()

    async def delete_owned(self, owned: Owned) -> bool:
        """Delete something that ``find_owned`` returned; True once the site confirms that it is gone. Idempotent."""
        return True

    async def close(self) -> None:  # noqa: B027  (optional)
        """Release connections; the site keeps what it runs."""
