"""SQLite as the store uses it: blocking, called from the store's one thread only.

Rollback journal and full synchronisation, since the data dir may be a network home, where WAL does not work.
"""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...api.models import TimelineEntry
from ...api.problems import Broken, OffloadError, ProblemCode
from .migrations import NEWEST, migrate
from .records import Record, utc

TIMELINE_LIMIT = 2000
_FULL = (errno.ENOSPC, errno.EDQUOT)


class NameInUse(Exception):
    """An unfinished cluster of this name exists."""


class Changed(Exception):
    """Another keeper changed the record since it was read."""


def explain(error: Exception, path: Path) -> OffloadError:
    """Return the problem that a failure of SQLite or of the disk means for the user."""
    full = "full" in str(error) if isinstance(error, sqlite3.Error) else getattr(error, "errno", None) in _FULL
    if full:
        return Broken(
            ProblemCode.disk_full,
            f"The disk that holds {path.parent} is full, so nothing was changed. Running clusters go on.",
            hint=f"Free space there (see: df -h {path.parent}), then try again.",
        )
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return Broken(
            ProblemCode.store_corrupt,
            f"The database {path} is damaged: {error}. Running clusters go on.",
            hint="End the keeper (jupyter offload doctor shows its process id); the next one puts the file aside and"
            " takes up the clusters that live.",
        )
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return Broken(
            ProblemCode.timeout,
            f"The database {path} is locked by another process.",
            hint="Try again; if it stays so, look for a keeper of yours on another host: jupyter offload doctor",
        )
    return Broken(
        ProblemCode.internal, f"The database {path} cannot be used: {error}", hint="Run: jupyter offload doctor"
    )


class Database:
    """The file ``records.sqlite``.

    Args:
        path: where it lies; its folder is made 0700.

    Raises:
        Broken: ``store-newer`` where a newer release wrote it, ``disk-full``, or ``internal`` where it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Where a corrupt database was put, if this one replaced it.
        self.moved_aside: Path | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = self._open()
        except (sqlite3.Error, OSError) as error:
            raise explain(error, path) from error

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # cannot open, locked, full: not a sign of damage
                raise
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self.moved_aside = self.path.with_name(f"{self.path.name}.corrupt-{stamp}")
        for suffix in ("", "-journal"):  # both, else SQLite would play the old journal into the new file
            old = self.path.with_name(self.path.name + suffix)
            if old.exists():
                old.rename(self.moved_aside.with_name(self.moved_aside.name + suffix))
        return self._connect()

    def _connect(self) -> sqlite3.Connection:
        self.path.touch(mode=0o600)
        db = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = FULL")
            self._check(db)
            migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _check(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > NEWEST:
            raise Broken(
                ProblemCode.store_newer,
                f"{self.path} was written by a newer release of jupyter-offload (format {version}, this release knows"
                f" {NEWEST}). It was left as it is.",
                hint="Upgrade this environment: pip install --upgrade jupyter-offload. To start afresh instead, move that"
                " file away.",
            )
        answer = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            raise sqlite3.DatabaseError(answer)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise explain(error, self.path) from error

    def _next_revision(self, db: sqlite3.Connection) -> int:
        db.execute("UPDATE store SET revision = revision + 1")
        return self._revision(db)

    @staticmethod
    def _revision(db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT revision FROM store").fetchone()[0])

    def next_revision(self) -> int:
        """Count the store's revision up without changing a record; return it."""
        with self._transaction() as db:
            return self._next_revision(db)

    def load(self) -> tuple[int, list[Record], dict[str, int]]:
        """Return the store's revision, all records, and the revision of each deletion."""
        with self._transaction() as db:
            rows = db.execute("SELECT document, revision FROM records").fetchall()
            deleted = {row["id"]: row["revision"] for row in db.execute("SELECT id, revision FROM deletions")}
            records = [
                Record.model_validate_json(row["document"]).model_copy(update={"revision": row["revision"]})
                for row in rows
            ]
            return self._revision(db), records, deleted

    def data_version(self) -> int:
        """Return a number that changes when another process wrote to the file."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def insert(self, record: Record, entries: Iterable[TimelineEntry]) -> Record:
        """Save a new record; return it with its revision.

        Raises:
            NameInUse: another unfinished cluster has this name.
        """
        try:
            return self._write(
                record,
                entries,
                "INSERT INTO records (name, revision, created_at, finished, document, id) VALUES (?, ?, ?, ?, ?, ?)",
            )
        except sqlite3.IntegrityError as error:
            raise NameInUse(record.name) from error

    def update(self, record: Record, entries: Iterable[TimelineEntry]) -> Record:
        """Save a changed record; return it with its new revision.

        Raises:
            Changed: a keeper on another host saved it meanwhile.
        """
        return self._write(
            record,
            entries,
            "UPDATE records SET name = ?, revision = ?, created_at = ?, finished = ?, document = ?"
            " WHERE id = ? AND revision = ?",
            record.revision,
        )

    def _write(self, record: Record, entries: Iterable[TimelineEntry], statement: str, *guard: int) -> Record:
        with self._transaction() as db:
            saved = record.model_copy(update={"revision": self._next_revision(db)})
            document = saved.model_dump_json()
            row = (saved.name, saved.revision, saved.created_at, saved.finished, document, saved.id, *guard)
            if db.execute(statement, row).rowcount != 1:
                raise Changed(record.id)
            rows = [(saved.id, e.at.timestamp(), e.level, e.code, e.message, e.worker) for e in entries]
            if rows:
                db.executemany(
                    "INSERT INTO timeline (cluster, at, level, code, message, worker) VALUES (?, ?, ?, ?, ?, ?)", rows
                )
                db.execute(
                    "DELETE FROM timeline WHERE cluster = ?1 AND entry <="
                    " (SELECT entry FROM timeline WHERE cluster = ?1 ORDER BY entry DESC LIMIT 1 OFFSET ?2)",
                    (saved.id, TIMELINE_LIMIT),
                )
            return saved

    def delete(self, record_id: str) -> int:
        """Forget a record and its timeline; return the revision of the deletion."""
        with self._transaction() as db:
            revision = self._next_revision(db)
            db.execute("DELETE FROM records WHERE id = ?", (record_id,))
            db.execute("INSERT OR REPLACE INTO deletions VALUES (?, ?)", (record_id, revision))
            # A client that is this far behind reads the whole list anyway.
            db.execute("DELETE FROM deletions WHERE revision < ?", (revision - 10_000,))
            return revision

    def timeline(self, record_id: str) -> list[TimelineEntry]:
        """Return what happened to a cluster, oldest first."""
        with self._transaction() as db:
            rows = db.execute("SELECT * FROM timeline WHERE cluster = ? ORDER BY entry", (record_id,)).fetchall()
        return [
            TimelineEntry(at=utc(r["at"]), level=r["level"], code=r["code"], message=r["message"], worker=r["worker"])
            for r in rows
        ]

    def close(self) -> None:
        """Close the file."""
        self._db.close()
