"""The store as the loop and the routes use it: records in memory, every change through SQLite first, and a change feed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ...api.models import Changes, TimelineEntry
from ...api.problems import NotFound, ProblemCode, Stale
from .database import Changed, Database
from .records import Record

T = TypeVar("T")
#: Returns the changed record and what to write into its timeline; the same object means no change.
Edit = Callable[[Record], tuple[Record, Iterable[TimelineEntry]]]


def unknown(name: str) -> NotFound:
    """Return the problem for a cluster that is not there."""
    return NotFound(
        ProblemCode.unknown_cluster, f"There is no cluster {name!r}.", field="id",
        hint="See which there are: jupyter offload clusters list",
    )  # fmt: skip


class Store:
    """Records by id. Reading is from memory; writing waits for the disk, in one thread, never on the event loop.

    Use ``await Store.open(path)``.
    """

    def __init__(self, database: Database, thread: ThreadPoolExecutor) -> None:
        self._database = database
        self._thread = thread
        self._lock = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._records: dict[str, Record] = {}
        self._deleted: dict[str, int] = {}
        self._sites_revision = 0
        self._data_version = 0
        self.revision = 0
        self.moved_aside = database.moved_aside

    @classmethod
    async def open(cls, path: Path) -> Store:
        """Open or create the database.

        Raises:
            Broken: see ``Database``.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        try:
            database = await asyncio.get_running_loop().run_in_executor(thread, Database, path)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        store = cls(database, thread)
        await store._load()
        return store

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _load(self) -> None:
        self.revision, records, self._deleted = await self._call(self._database.load)
        self._records = {r.id: r for r in records}
        self._data_version = await self._call(self._database.data_version)

    async def reload_foreign(self) -> bool:
        """Read again if a keeper on another host, with the same home, changed the file; True if so."""
        async with self._lock:
            if await self._call(self._database.data_version) == self._data_version:
                return False
            await self._load()
            await self._notify()
            return True

    def all(self) -> list[Record]:
        """Return all records, newest first."""
        return sorted(self._records.values(), key=lambda r: r.created_at, reverse=True)

    def get(self, record_id: str) -> Record | None:
        """Return the record of this id, if there is one."""
        return self._records.get(record_id)

    def find(self, id_or_name: str) -> Record:
        """Return a record by id, else by name: newest unfinished first, then newest finished.

        Raises:
            NotFound: there is none.
        """
        record = self._records.get(id_or_name)
        named = [r for r in self.all() if r.name == id_or_name]
        if record is None and named:
            record = next((r for r in named if not r.finished), named[0])
        if record is None:
            raise unknown(id_or_name)
        return record

    async def insert(self, record: Record, entries: Iterable[TimelineEntry]) -> Record:
        """Save a new record.

        Raises:
            NameInUse: another unfinished cluster has this name.
            Broken: the disk is full or the database cannot be used; nothing was changed.
        """
        async with self._lock:
            return await self._took(await self._call(self._database.insert, record, list(entries)))

    async def update(self, record_id: str, edit: Edit, if_match: int | None = None) -> Record:
        """Change a record by ``edit``, which sees its newest form; return the saved one.

        Raises:
            NotFound: it was forgotten.
            Stale: ``if_match`` is not its revision.
            Broken: the disk is full or the database cannot be used; nothing was changed.
        """
        async with self._lock:
            try:
                return await self._edit(record_id, edit, if_match)
            except Changed:  # by a keeper on another host, which only ever says what is wanted
                await self._load()
                return await self._edit(record_id, edit, if_match)

    async def _edit(self, record_id: str, edit: Edit, if_match: int | None) -> Record:
        record = self._records.get(record_id)
        if record is None:
            raise unknown(record_id)
        if if_match is not None and if_match != record.revision:
            raise Stale(
                ProblemCode.stale_revision,
                f"Cluster {record.name!r} changed since you looked (revision {if_match}, now {record.revision}).",
                field="If-Match", hint="Look again, then repeat the change.",
            )  # fmt: skip
        changed, entries = edit(record)
        entries = list(entries)
        if changed is record and not entries:
            return record
        return await self._took(await self._call(self._database.update, changed, entries))

    async def _took(self, record: Record) -> Record:
        self._records[record.id] = record
        self.revision = record.revision
        await self._notify()
        return record

    async def delete(self, record_id: str) -> None:
        """Forget a record with its timeline; idempotent."""
        async with self._lock:
            if record_id not in self._records:
                return
            self.revision = await self._call(self._database.delete, record_id)
            self._deleted[record_id] = self.revision
            del self._records[record_id]
            await self._notify()

    async def timeline(self, record_id: str) -> list[TimelineEntry]:
        """Return what happened to a cluster, oldest first."""
        return await self._call(self._database.timeline, record_id)

    async def sites_changed(self) -> None:
        """Tell those who wait that the sites are worth another look."""
        async with self._lock:
            self.revision = self._sites_revision = await self._call(self._database.next_revision)
            await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def changes(self, since: int | None) -> Changes:
        """Return what changed after ``since``; everything, where ``since`` is of another store."""
        if since is None:
            return Changes(revision=self.revision)
        if since > self.revision:
            return Changes(revision=self.revision, clusters=[r.id for r in self.all()], sites=True)
        touched = [r.id for r in self.all() if r.revision > since]
        touched += [i for i, revision in self._deleted.items() if revision > since]
        return Changes(revision=self.revision, clusters=touched, sites=self._sites_revision > since)

    async def wait(self, since: int | None, timeout_s: float) -> Changes:
        """Return what changed after ``since``, waiting up to ``timeout_s`` seconds for something to change."""
        answer = self.changes(since)
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                while since is not None and not answer.clusters and not answer.sites:
                    await self._changed.wait()
                    answer = self.changes(since)
        except TimeoutError:
            pass
        return answer

    async def close(self) -> None:
        """Close the database after the writes under way."""
        async with self._lock:
            await self._call(self._database.close)
            self._thread.shutdown(wait=False)
