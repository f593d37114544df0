"""What the keeper remembers of one cluster. Everything a new keeper needs to take the cluster up again is in here."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from ...api.models import Adaptive, ClusterSpec, Desired, Model, Phase, Profile, Reason
from ..relay.settings import RelayUse

FINAL = frozenset({Phase.stopped, Phase.failed})


class ProcessName(Model):
    """A process for ever: its id, and when it started, since ids are used again."""

    pid: int
    start: str


class Notice(Model):
    """What happened to a worker of late; it is the card's reason for some minutes."""

    at: float
    reason: Reason


class Record(Model):
    """One cluster: what was asked (``requested``, ``spec``, ``desired``), what was decided, what was created where.

    Times are seconds since the epoch. ``handle`` belongs to the backend. ``cleaned`` says that nothing of a finished
    cluster is left at the site or on this host; until then the loop goes on deleting.
    """

    id: str
    name: str
    owner: str
    requested: ClusterSpec
    spec: ClusterSpec
    profile: Profile
    site_title: str
    python: str
    #: what its kernelspec sets for that Python, such as the PYTHONPATH of software on /cvmfs
    variables: dict[str, str] = {}
    host: str
    boot_id: str
    container_id: str
    folder: str
    runtime: str
    spill: str
    created_at: float
    ends_with_server: bool = False
    #: the site runs its scheduler, and this host none of its processes
    own_scheduler: bool = False
    encrypted: bool = True
    #: found at the site, where it was made by other means
    adopted: bool = False
    #: what such a site was asked or seen to hold last, so that what is changed there is followed and not undone
    site_workers: int | None = None
    site_adaptive: Adaptive | None = None

    desired: Desired = Desired.running
    stop_reason: Reason | None = None
    phase: Phase = Phase.pending
    phase_since: float
    reason: Reason
    workers_requested: int = 0
    workers_starting: int = 0
    workers_connected: int = 0
    #: another number of workers is wanted and the site has not been seen to take it up, though it had stopped starting any
    asked_anew: bool = False

    launched_at: float | None = None
    supervisor: ProcessName | None = None
    scheduler: ProcessName | None = None
    scheduler_address: str | None = None
    #: the relay of a cluster whose workers can only dial out, from its launch on
    relay: RelayUse | None = None
    submitted: bool = False
    handle: dict[str, Any] = {}
    last_event: int = 0
    #: how far the timeline has told of each worker at a remote site
    stages: dict[str, str] = {}
    notice: Notice | None = None
    #: extra modules that cannot be imported, and why
    failed_modules: dict[str, str] = {}
    cleaned: bool = False
    forget: bool = False
    revision: int = 0

    @property
    def finished(self) -> bool:
        """Whether the phase is final."""
        return self.phase in FINAL

    @property
    def settled(self) -> bool:
        """Whether nothing remains to be done for this cluster."""
        return self.finished and self.cleaned


def utc(seconds: float) -> datetime:
    """Return an aware time from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


@cache
def boot_id() -> str:
    """Return what differs between two boots of this host."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))


@cache
def container_id() -> str:
    """Return what differs between two containers on one host: the namespace in which process ids count."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
