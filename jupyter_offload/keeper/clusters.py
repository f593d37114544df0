"""What doors may ask about clusters, without HTTP: check, save what is wanted, and wake the loop. Nothing here acts."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from ..api import locations
from ..api.models import (
    Cluster,
    ClusterChange,
    ClusterList,
    ClusterRequest,
    ClusterSpec,
    Connection,
    Desired,
    FieldProblem,
    Phase,
    Preview,
    Reason,
    ReasonCode,
    RelayWay,
    Timeline,
    TLSFiles,
)
from ..api.problems import BadInput, Conflict, NotNow, ProblemCode
from ..ports import Capability
from . import folders
from .dashboards import Dashboards
from .environments import Environments
from .lifecycle import STOP_REQUESTED
from .live import cluster_view
from .reconcile import Reconciler
from .recording import entry
from .sites import SiteRegistry, resolve
from .store import Record, Store, boot_id, container_id
from .store.database import NameInUse

ACCEPTED = Reason(code=ReasonCode.accepted, message="Accepted; it starts now.")
NAME_LENGTH = 40


class Clusters:
    """Create, show, change and end clusters."""

    def __init__(
        self,
        store: Store,
        loop: Reconciler,
        sites: SiteRegistry,
        environments: Environments,
        *,
        ends_with_server: bool = False,
    ) -> None:
        self._store = store
        self._loop = loop
        self._sites = sites
        self._environments = environments
        self._ends_with_server = ends_with_server
        self.dashboards = Dashboards()

    def view(self, record: Record, *, workers: bool = True) -> Cluster:
        """Return a record as clients see it."""
        return cluster_view(record, self._loop.live(record.id), workers=workers)

    def list(self) -> ClusterList:
        """Return all clusters, newest first."""
        self._loop.watched()
        return ClusterList(revision=self._store.revision, clusters=[self.view(r) for r in self._store.all()])

    async def get(self, id_or_name: str) -> Cluster:
        """Return one cluster, with usage numbers of now.

        Raises:
            NotFound: there is none.
        """
        await self._loop.look_again(self._store.find(id_or_name).id)
        return self.view(self._store.find(id_or_name))

    async def timeline(self, id_or_name: str) -> Timeline:
        """Return what happened to a cluster.

        Raises:
            NotFound: there is none.
        """
        return Timeline(entries=await self._store.timeline(self._store.find(id_or_name).id))

    # ------------------------------------------------------------ create
    async def preview(self, spec: ClusterSpec) -> Preview:
        """Check a spec and return what would be submitted.

        Raises:
            BadInput: as ``create``, but a name in use is a warning.
        """
        definition, backend = self._sites.get(spec.site).ready()
        resolved, profile = resolve(spec, definition)
        environment = await self._environments.resolve(spec.environment)
        preview = backend.preview(resolved, profile, environment.python)
        preview.warnings += await self._loop.relays.require(spec.site, backend)
        unavailable = (await self._sites.describe(self._sites.get(spec.site))).unavailable
        if profile.name in unavailable:
            preview.warnings.append(f"Profile {profile.name} cannot be had now: {unavailable[profile.name]}")
        if self._name_in_use(spec.name):
            preview.warnings.append(f"The name {spec.name} is in use; {self._free_name(spec.name)} is free.")
        if self._ends_with_server:
            preview.warnings.append("The Hub ends this cluster together with the Jupyter server.")
        return preview

    async def create(self, request: ClusterRequest) -> Cluster:
        """Save a new cluster and return it at once; the same id and spec again return the same record.

        Raises:
            NotFound: unknown site or environment.
            BadInput: a limit is exceeded (all at once in ``errors``), or the environment cannot be used.
            Conflict: the name is in use, or the id stands for another spec.
            Broken: the disk is full; nothing was created.
        """
        known = self._store.get(request.id) if request.id else None
        if known is not None:
            return self._same(known, request.spec)
        spec = request.spec
        definition, backend = self._sites.get(spec.site).ready()
        resolved, profile = resolve(spec, definition)
        await self._loop.relays.require(spec.site, backend)
        self._check_room(spec.site, definition.maximum_clusters)
        environment = await self._environments.resolve(spec.environment)
        now = time.time()
        record_id = request.id or uuid.uuid4().hex
        place = folders.places(record_id)
        own = Capability.own_scheduler in backend.capabilities
        record = Record(
            id=record_id, name=spec.name, owner=locations.owner_name(), requested=spec, spec=resolved, profile=profile,
            site_title=definition.title or definition.name, python=environment.python,
            variables=self._environments.variables(environment.name), host=locations.host_name(), boot_id=boot_id(),
            container_id=container_id(), created_at=now, phase_since=now, reason=ACCEPTED,
            workers_requested=resolved.workers, ends_with_server=self._ends_with_server and not own, folder=place.folder,
            runtime=place.runtime, spill=place.spill, own_scheduler=own,
            encrypted=Capability.unencrypted not in backend.capabilities,
        )  # fmt: skip
        try:
            record = await self._store.insert(record, [entry(now, ACCEPTED)])
        except NameInUse as error:
            known = self._store.get(record_id)  # the same request, twice at once
            if known is not None:
                return self._same(known, spec)
            raise self._taken(spec.name) from error
        self._loop.wake(record.id)
        return self.view(record)

    def _same(self, known: Record, spec: ClusterSpec) -> Cluster:
        if known.requested == spec:
            return self.view(known)
        raise Conflict(
            ProblemCode.id_in_use, f"The id {known.id!r} stands for cluster {known.name!r}, made from another spec.",
            field="id", hint="Take another id, or leave it out.",
        )  # fmt: skip

    def _name_in_use(self, name: str) -> bool:
        return any(r.name == name and not r.finished for r in self._store.all())

    def _free_name(self, name: str) -> str:
        number = 2
        while self._name_in_use(free := f"{name[: NAME_LENGTH - len(str(number)) - 1]}-{number}"):
            number += 1
        return free

    def _taken(self, name: str) -> Conflict:
        return Conflict(
            ProblemCode.name_in_use, f"Another cluster is named {name!r}.", field="name",
            hint=f"Take another name, for example {self._free_name(name)}, or stop that cluster first.",
        )  # fmt: skip

    def _check_room(self, site: str, maximum: int) -> None:
        there = sum(not r.finished and r.spec.site == site for r in self._store.all())
        if there >= maximum:
            message = f"You have {there} clusters at site {site!r}, and {maximum} is the most there."
            hint = "Stop one first."
            raise BadInput(
                ProblemCode.limit_exceeded, message, field="site", hint=hint,
                errors=[FieldProblem(field="site", message=message, hint=hint)],
            )  # fmt: skip

    # ------------------------------------------------------------ change
    async def change(self, id_or_name: str, change: ClusterChange, if_match: int | None) -> Cluster:
        """Scale, adapt or extend a running cluster.

        Raises:
            NotNow: it is ending or over.
            BadInput: a limit is exceeded, or the fields contradict each other.
            Stale: ``if_match`` is not the record's revision.
        """
        found = self._store.find(id_or_name)

        def edit(record: Record) -> tuple[Record, tuple[()]]:
            _must_run(record)
            spec = self._changed(record, change)
            update: dict[str, Any] = {"spec": spec}
            if spec.adaptive is None and spec.workers != record.workers_requested:
                update |= {"workers_requested": spec.workers}
                # A new number is a new attempt, so what stopped the last one is history.
                update |= {"notice": None, "asked_anew": True}
            return (record if spec == record.spec else record.model_copy(update=update)), ()

        record = await self._store.update(found.id, edit, if_match)
        self._loop.wake(record.id)
        return self.view(record)

    def _changed(self, record: Record, change: ClusterChange) -> ClusterSpec:
        given = change.model_fields_set
        update = {field: getattr(change, field) for field in given}
        adaptive = change.adaptive if "adaptive" in given else record.spec.adaptive
        if change.workers is not None and adaptive is not None:
            raise BadInput(
                ProblemCode.invalid, "The number of workers of an adaptive cluster is not set by hand.", field="workers",
                hint="Send adaptive: null as well to fix the number, or change its minimum and maximum.",
            )  # fmt: skip
        if "adaptive" in given and adaptive is None and change.workers is None:
            update["workers"] = record.workers_requested
        for field in ("workers", "idle_timeout_s", "lifetime_s"):
            if field in update and update[field] is None:
                del update[field]
        spec = record.spec.model_copy(update=update)
        if "lifetime_s" in update and spec.lifetime_s and record.created_at + spec.lifetime_s <= time.time():
            raise BadInput(
                ProblemCode.invalid, f"A lifetime of {spec.lifetime_s} s, counted from its creation, is over already.",
                field="lifetime_s", hint="Take a longer one, or stop the cluster.",
            )  # fmt: skip
        definition = self._sites.get(spec.site).definition
        return resolve(spec, definition)[0] if definition is not None else spec

    async def delete(self, id_or_name: str, if_match: int | None) -> Cluster | None:
        """Stop a cluster, returning it, or forget a finished one, returning None. Idempotent.

        Raises:
            NotFound: there is none.
            Stale: ``if_match`` is not the record's revision.
        """
        found = self._store.find(id_or_name)
        elsewhere = found.reason.code is ReasonCode.other_host

        def edit(record: Record) -> tuple[Record, tuple[()]]:
            if record.finished:
                return record.model_copy(update={"forget": True}), ()
            if record.desired is Desired.stopped:
                return record, ()
            return record.model_copy(update={"desired": Desired.stopped, "stop_reason": STOP_REQUESTED}), ()

        if elsewhere and (found.finished or found.desired is Desired.stopped):
            await self._store.delete(found.id)  # asked twice: the host it belonged to may be no more
            return None
        record = await self._store.update(found.id, edit, if_match)
        self._loop.wake(record.id)
        if record.forget:
            await self._loop.forgotten(record.id)
            return None
        return self.view(record)

    # ------------------------------------------------------------ use
    def connection(self, id_or_name: str) -> Connection:
        """Return how a client connects: address and paths.

        Raises:
            NotNow: it cannot be connected to now; the message says why.
        """
        record = self._store.find(id_or_name)
        address = record.scheduler_address
        if not self.view(record, workers=False).connectable or address is None:
            raise _not_usable(record)
        folder = Path(record.folder)
        client = str(folder / "client.pem")
        tls = TLSFiles(ca_file=str(folder / "ca.pem"), cert_file=client, key_file=client)
        return Connection(
            id=record.id, name=record.name, scheduler_address=address,
            tls=tls if record.encrypted else None,
            connection_file=str(folder / "connection.json"),
            relay=RelayWay.model_validate(record.relay.launch_part()) if record.relay is not None else None,
        )  # fmt: skip

    def dashboard_socket(self, id_or_name: str) -> Path:
        """Return the private socket of a cluster's dashboard.

        Raises:
            NotNow: it has none now; the message says why.
        """
        record = self._store.find(id_or_name)
        if not self.view(record, workers=False).dashboard:
            raise _not_usable(record)
        return Path(record.runtime) / "dashboard.sock"

    def find(self, id_or_name: str) -> Record:
        """Return the record of a cluster.

        Raises:
            NotFound: there is none.
        """
        return self._store.find(id_or_name)


def _must_run(record: Record) -> None:
    if record.finished:
        raise NotNow(
            ProblemCode.finished, f"Cluster {record.name!r} is {record.phase.value}: {record.reason.message}",
            hint="Start a new one of the same spec.",
        )  # fmt: skip
    if record.desired is Desired.stopped:
        raise NotNow(ProblemCode.not_running, f"Cluster {record.name!r} is stopping.", hint="Start a new one.")


def _not_usable(record: Record) -> NotNow:
    if record.finished:
        return NotNow(
            ProblemCode.finished, f"Cluster {record.name!r} is {record.phase.value}: {record.reason.message}",
            hint="Start a new one of the same spec.",
        )  # fmt: skip
    if record.phase is Phase.stopping or record.desired is Desired.stopped:
        return NotNow(ProblemCode.not_running, f"Cluster {record.name!r} is stopping.", hint="Start a new one.")
    elsewhere = record.reason.code is ReasonCode.scheduler_not_reached  # waiting helps nobody
    return NotNow(
        ProblemCode.not_running, f"Cluster {record.name!r} is {record.phase.value}: {record.reason.message}",
        hint=record.reason.hint if elsewhere else "Wait until it is connectable, then try again.",
    )  # fmt: skip
