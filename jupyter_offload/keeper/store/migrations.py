"""The shape of the database, one function a step. ``PRAGMA user_version`` counts the steps taken; never edit an old one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable


def _001_first(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE store (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL)")
    db.execute("INSERT INTO store VALUES (1, 0)")
    db.execute(
        "CREATE TABLE records (id TEXT PRIMARY KEY, name TEXT NOT NULL, revision INTEGER NOT NULL,"
        " created_at REAL NOT NULL, finished INTEGER NOT NULL, document TEXT NOT NULL)"
    )
    # Two doors may ask for one name at once; the database decides.
    db.execute("CREATE UNIQUE INDEX names_in_use ON records (name) WHERE NOT finished")
    db.execute(
        "CREATE TABLE timeline (entry INTEGER PRIMARY KEY, cluster TEXT NOT NULL REFERENCES records (id)"
        " ON DELETE CASCADE, at REAL NOT NULL, level TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,"
        " worker TEXT)"
    )
    db.execute("CREATE INDEX timeline_of_cluster ON timeline (cluster, entry)")
    db.execute("CREATE TABLE deletions (id TEXT PRIMARY KEY, revision INTEGER NOT NULL)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_001_first,)
NEWEST = len(MIGRATIONS)


def migrate(db: sqlite3.Connection) -> None:
    """Bring the database to the newest shape, each step in one transaction."""
    while (version := db.execute("PRAGMA user_version").fetchone()[0]) < NEWEST:
        with db:
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA user_version").fetchone()[0] == version:  # another host's keeper may be quicker
                MIGRATIONS[version](db)
                db.execute(f"PRAGMA user_version = {version + 1}")
