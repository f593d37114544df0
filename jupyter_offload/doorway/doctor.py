"""Where the keeper is, and whether the way there is sound: what only this side of the door can see."""

from __future__ import annotations

import datetime
import time

import httpx

from .. import __version__
from ..api import locations
from ..api.models import Finding
from ..api.problems import OffloadError
from . import identity, pod
from .keeping import Keeping, NotYet
from .placing import Place
from .wire import Distrust

CHECK = "placement"


async def findings(keeping: Keeping) -> list[Finding]:
    """Return what was found; a pod that cannot be had is a finding."""
    try:
        place = await keeping.place()
    except NotYet as error:
        return [Finding(check=CHECK, state="warning", message=error.problem.message, hint=error.problem.hint)]
    except OffloadError as error:
        found = [Finding(check=CHECK, state="error", message=error.message, hint=error.hint)]
        found += [
            Finding(check=CHECK, state="error", message=f"{p.field}: {p.message}", hint=p.hint)
            for p in error.errors[1:]
        ]
        return found
    return [await _door(place), _records(place), *await _certificate(place)]


async def _door(place: Place) -> Finding:
    began = time.monotonic()
    try:
        health = await place.wire.health()
    except (httpx.TransportError, Distrust) as error:
        message = f"The door of pod {place.name} does not answer ({type(error).__name__})."
        hint = f"See: kubectl -n {place.namespace} logs {place.name}"
        return Finding(check=CHECK, state="error", message=message, hint=hint)
    took_ms = 1000 * (time.monotonic() - began)
    where = f"The keeper runs in pod {place.name} of namespace {place.namespace}"
    if health.version != __version__:
        by_image = not place.by_older
        hint = (
            "Its image has that release; write another image into placement.yaml."
            if by_image
            else f"It makes room for this one when its {health.clusters_active} clusters have ended."
        )
        message = f"{where}, of release {health.version}; this host has {__version__}."
        return Finding(check=CHECK, state="warning", message=message, hint=hint)
    return Finding(check=CHECK, state="ok", message=f"{where}; its door answers in {took_ms:.0f} ms.")


def _records(place: Place) -> Finding:
    if pod.keeps_records(place.made, str(locations.data_folder())):
        return Finding(check=CHECK, state="ok", message="Records and logs outlive the keeper's pod.")
    message = f"Records and logs end with the keeper's pod: {locations.data_folder()} is on no volume of it that lasts."
    hint = "Give the pod the volume of the home: volumes and mounts in placement.yaml."
    return Finding(check=CHECK, state="warning", message=message, hint=hint)


async def _certificate(place: Place) -> list[Finding]:
    try:
        ends = await place.wire.certificate_ends_at()
    except (OSError, TimeoutError):
        return []  # the door was asked before, and that was said
    left = ends - datetime.datetime.now(datetime.UTC)
    soon = left < identity.RENEWED_BEFORE / 2
    message = f"The door's certificate is valid for {left.days} days more."
    hint = "It could not be renewed; see doorway.log, and whether this account may patch secrets." if soon else None
    return [Finding(check=CHECK, state="warning" if soon else "ok", message=message, hint=hint)]
