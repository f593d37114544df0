"""What earlier keepers left: processes without a record are ended, records of a lost database are made again."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from pathlib import Path

import psutil
from pydantic import ValidationError

from ..api.models import Finding, TimelineEntry
from . import folders, processes
from .store import ProcessName, Record, Store
from .store.database import NameInUse
from .store.records import utc

log = logging.getLogger(__name__)
KEEP_FINISHED = 100
KEEP_FINISHED_S = 30 * 86400


def _saved_records() -> list[Record]:
    found = []
    for path in folders.clusters_folder().glob("*/record.json"):
        try:
            record = Record.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            log.warning("%s cannot be read: %s", path, error)
            continue
        if Path(record.folder) == path.parent:
            found.append(record)
    return sorted(found, key=lambda r: r.created_at)


async def restore(store: Store) -> int:
    """Make records again from the clusters' folders, after a damaged database was put aside; return how many."""
    restored = 0
    now = time.time()
    told = TimelineEntry(
        at=utc(now), level="warning", code="record-restored",
        message="The database was damaged; this record was made again from the cluster's folder, its history is lost.",
    )  # fmt: skip
    for record in await asyncio.to_thread(_saved_records):
        if store.get(record.id) is None:
            try:
                await store.insert(record.model_copy(update={"revision": 0}), [told])
            except NameInUse:
                log.warning("cluster %s was not restored: its name %s is in use", record.id, record.name)
                continue
            restored += 1
    return restored


def _owned_supervisors(known: set[str]) -> list[tuple[Path, ProcessName | None]]:
    """Return runtime folders without a record and the living supervisor in each, if it is this user's."""
    found: list[tuple[Path, ProcessName | None]] = []
    base = folders.runtimes_folder()
    for runtime in base.iterdir() if base.is_dir() else ():
        if str(runtime) in known:
            continue
        ready = folders.read_json(runtime / "ready.json") or {}
        name = ProcessName.model_validate(ready["supervisor"]) if "supervisor" in ready else None
        try:
            ours = name is not None and psutil.Process(name.pid).uids().real == os.getuid()
        except psutil.Error:
            ours = False
        found.append((runtime, name if ours else None))
    return found


async def sweep(store: Store) -> list[Finding]:
    """End clusters of this host and data dir that no record knows; return what was done.

    The runtime folder is private to user, host and data dir, so that what lies in it is this keeper's.
    """
    known = {r.runtime for r in store.all()}
    findings = []
    for runtime, supervisor in await asyncio.to_thread(_owned_supervisors, known):
        if supervisor is not None:
            ended = await asyncio.to_thread(processes.end_tree, supervisor, ())
            message = f"A cluster without a record was found ({runtime.name}, process {supervisor.pid}) and ended."
            log.warning(message)
            state = "warning" if ended else "error"
            findings.append(Finding.model_validate({"check": "leftovers", "state": state, "message": message}))
            if not ended:
                continue
        await asyncio.to_thread(shutil.rmtree, runtime, True)
    return findings


def outdated(records: list[Record], now: float) -> list[Record]:
    """Return finished records that are too old or too many to keep; ``records`` are newest first."""
    settled = [r for r in records if r.settled]
    return [r for n, r in enumerate(settled) if n >= KEEP_FINISHED or now - r.phase_since > KEEP_FINISHED_S]


def recovered_finding(moved_aside: Path, restored: int) -> Finding:
    """Return what the doctor says after a damaged database was put aside."""
    return Finding(
        check="records", state="error",
        message=f"The database of records was damaged. It was put aside as {moved_aside}, a new one was begun, and"
        f" {restored} clusters were taken up again from their folders.",
        hint="Check the disk. Delete the file that was put aside once you do not need it.",
    )  # fmt: skip
