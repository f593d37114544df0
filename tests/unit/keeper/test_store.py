"""The store: real SQLite files, real damage."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_offload.api.models import Desired, Phase, TimelineEntry
from jupyter_offload.api.problems import Broken, NotFound, ProblemCode, Stale
from jupyter_offload.keeper.store import Database, Store
from jupyter_offload.keeper.store.database import TIMELINE_LIMIT, NameInUse
from jupyter_offload.keeper.store.migrations import NEWEST
from jupyter_offload.keeper.store.records import utc


def told(code: str, at: float = 1.0) -> TimelineEntry:
    return TimelineEntry(at=utc(at), code=code, message=code)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "offload" / "records.sqlite"


@pytest.fixture
async def store(path: Path):
    store = await Store.open(path)
    yield store
    await store.close()


def rename(name: str):
    return lambda r: (r.model_copy(update={"name": name}), ())


async def test_survives_and_keeps_history(path: Path, make_record) -> None:
    store = await Store.open(path)
    record = await store.insert(make_record(), [told("accepted")])
    record = await store.update(record.id, lambda r: (r.model_copy(update={"phase": Phase.running}), [told("running")]))
    await store.close()
    again = await Store.open(path)
    assert again.get(record.id) == record
    assert again.revision == record.revision == 2
    assert [e.code for e in await again.timeline(record.id)] == ["accepted", "running"]
    await again.close()


async def test_files_are_private(path: Path, store: Store) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_one_revision_orders_all_changes_and_deletions(store: Store, make_record) -> None:
    one = await store.insert(make_record(id="cluster-1", name="a"), [])
    two = await store.insert(make_record(id="cluster-2", name="b"), [])
    one = await store.update(one.id, rename("c"))
    assert (two.revision, one.revision) == (2, 3)
    await store.delete(two.id)
    assert store.revision == 4
    assert store.changes(2).clusters == [one.id, two.id]
    assert store.changes(3).clusters == [two.id]
    assert store.changes(4).clusters == []


async def test_deletion_takes_the_timeline_with_it(path: Path, store: Store, make_record) -> None:
    await store.insert(make_record(), [told("accepted")])
    await store.delete("abcdef")
    await store.delete("abcdef")
    assert sqlite3.connect(path).execute("SELECT count(*) FROM timeline").fetchone() == (0,)
    with pytest.raises(NotFound):
        store.find("abcdef")


async def test_an_edit_without_effect_writes_nothing(store: Store, make_record) -> None:
    record = await store.insert(make_record(), [])
    assert await store.update(record.id, lambda r: (r, ())) is record
    assert store.revision == record.revision


async def test_stale_if_match(store: Store, make_record) -> None:
    record = await store.insert(make_record(), [])
    with pytest.raises(Stale) as caught:
        await store.update(record.id, rename("x"), if_match=record.revision + 7)
    assert caught.value.field == "If-Match"
    assert store.get(record.id) == record
    assert (await store.update(record.id, rename("x"), if_match=record.revision)).name == "x"


async def test_names_are_unique_among_the_unfinished(store: Store, make_record) -> None:
    await store.insert(make_record(id="cluster-1"), [])
    with pytest.raises(NameInUse):
        await store.insert(make_record(id="cluster-2"), [])
    await store.update("cluster-1", lambda r: (r.model_copy(update={"phase": Phase.stopped}), ()))
    await store.insert(make_record(id="cluster-2"), [])


async def test_find_by_name_prefers_the_unfinished_then_the_newest(store: Store, make_record) -> None:
    for n, phase in enumerate([Phase.stopped, Phase.failed]):
        await store.insert(make_record(id=f"cluster-{n}", phase=phase, created_at=float(n)), [])
    assert store.find("zmumu").id == "cluster-1"
    await store.insert(make_record(id="cluster-7", phase=Phase.running, created_at=-5.0), [])
    assert store.find("zmumu").id == "cluster-7"
    assert store.find("cluster-0").id == "cluster-0"


async def test_timeline_is_bounded(store: Store, make_record) -> None:
    await store.insert(make_record(), [told(str(i)) for i in range(TIMELINE_LIMIT)])
    await store.update("abcdef", lambda r: (r, [told("last")]))
    codes = [e.code for e in await store.timeline("abcdef")]
    assert len(codes) == TIMELINE_LIMIT and codes[0] == "1" and codes[-1] == "last"


class TestChanges:
    async def test_waits_for_a_change(self, store: Store, make_record) -> None:
        waiting = asyncio.create_task(store.wait(0, 30))
        await asyncio.sleep(0)
        await store.insert(make_record(), [])
        assert (await asyncio.wait_for(waiting, 5)).clusters == ["abcdef"]

    async def test_answers_at_once_what_was_missed(self, store: Store, make_record) -> None:
        await store.insert(make_record(), [])
        assert (await asyncio.wait_for(store.wait(0, 30), 5)).clusters == ["abcdef"]

    async def test_nothing_happened(self, store: Store) -> None:
        changes = await store.wait(0, 0.01)
        assert (changes.revision, changes.clusters, changes.sites) == (0, [], False)

    async def test_another_store_means_look_at_everything(self, store: Store, make_record) -> None:
        await store.insert(make_record(), [])
        changes = await store.wait(999, 5)
        assert changes.clusters == ["abcdef"] and changes.sites and changes.revision == 1

    async def test_sites(self, store: Store) -> None:
        waiting = asyncio.create_task(store.wait(0, 30))
        await asyncio.sleep(0)
        await store.sites_changed()
        assert (await asyncio.wait_for(waiting, 5)).sites
        assert (await store.wait(0, 5)).sites, "one who was not waiting learns it as well"
        assert not (await store.wait(store.revision, 0.01)).sites


class TestDamage:
    def test_a_corrupt_file_is_put_aside_not_lost(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"this is no database" * 100)
        database = Database(path)
        assert database.moved_aside is not None
        assert database.moved_aside.read_bytes().startswith(b"this is no database")
        assert database.load()[1] == []
        database.close()

    async def test_damaged_pages_are_noticed(self, path: Path, make_record) -> None:
        store = await Store.open(path)
        for n in range(50):
            await store.insert(make_record(id=f"cluster-{n}", name=f"n{n}"), [])
        await store.close()
        with path.open("r+b") as file:
            file.seek(3 * 4096)
            file.write(os.urandom(4096 * 4))
        database = Database(path)
        assert database.moved_aside is not None and database.moved_aside.stat().st_size > 4096
        database.close()

    def test_a_newer_file_is_refused_and_left_alone(self, path: Path) -> None:
        Database(path).close()
        db = sqlite3.connect(path)
        db.execute(f"PRAGMA user_version = {NEWEST + 1}")
        db.close()
        before = path.read_bytes()
        with pytest.raises(Broken) as caught:
            Database(path)
        assert caught.value.code is ProblemCode.store_newer
        assert "pip install --upgrade" in (caught.value.hint or "")
        assert path.read_bytes() == before

    async def test_disk_full_loses_nothing(self, path: Path, make_record) -> None:
        store = await Store.open(path)
        record = await store.insert(make_record(), [])
        # SQLite's own limit gives the very error of a full disk.
        store._database._db.execute("PRAGMA max_page_count = 1")
        with pytest.raises(Broken) as caught:
            for n in range(100):
                await store.insert(make_record(id=f"cluster-{n}", name=f"n{n}"), [told("x" * 1000)])
        assert caught.value.code is ProblemCode.disk_full
        assert "df -h" in (caught.value.hint or "")
        kept = {r.id: r.revision for r in store.all()}
        store._database._db.execute("PRAGMA max_page_count = 100000")
        assert (await store.update(record.id, rename("room-again"))).revision == store.revision
        await store.close()
        again = await Store.open(path)
        assert set(kept) == {r.id for r in again.all()}
        await again.close()

    @pytest.mark.skipif(os.getuid() != 0 or sys.platform != "linux", reason="needs a small file system of its own")
    def test_a_really_full_disk(self, tmp_path: Path) -> None:
        small = tmp_path / "small"
        small.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], check=False, timeout=30
        )
        if mounted.returncode != 0:
            pytest.skip("mounting is not allowed here")
        try:
            database = Database(small / "records.sqlite")
            with (small / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
                while True:
                    filler.write(b"x" * 4096)
            with pytest.raises(Broken) as caught:
                database.next_revision()
            assert caught.value.code is ProblemCode.disk_full
            (small / "filler").unlink()
            assert database.next_revision() == 1
            database.close()
        finally:
            subprocess.run(["umount", str(small)], check=True, timeout=30)

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "offload").write_text("a file where a folder should be")
        with pytest.raises(Broken) as caught:
            Database(tmp_path / "offload" / "records.sqlite")
        assert str(tmp_path / "offload") in caught.value.message


class TestTwoKeepersOfOneHome:
    async def test_each_sees_what_the_other_saved(self, path: Path, make_record) -> None:
        here, there = await Store.open(path), await Store.open(path)
        await here.insert(make_record(), [])
        assert there.get("abcdef") is None
        assert await there.reload_foreign()
        assert there.get("abcdef") == here.get("abcdef")
        assert not await there.reload_foreign()
        await here.close()
        await there.close()

    async def test_a_change_by_the_other_is_not_overwritten(self, path: Path, make_record) -> None:
        here, there = await Store.open(path), await Store.open(path)
        await here.insert(make_record(), [])
        await there.reload_foreign()
        await there.update("abcdef", lambda r: (r.model_copy(update={"desired": Desired.stopped}), ()))
        saved = await here.update("abcdef", lambda r: (r.model_copy(update={"workers_connected": 1}), ()))
        assert (saved.desired, saved.workers_connected) == ("stopped", 1)
        await here.close()
        await there.close()


async def test_a_record_of_an_older_release_is_read(path: Path, make_record) -> None:
    """What a record gained since has a default: no cluster is lost by an update."""
    store = await Store.open(path)
    record = await store.insert(make_record(variables={"VIEW": "LCG_107"}), [])
    assert record.variables == {"VIEW": "LCG_107"}
    await store.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE records SET document = json_remove(document, '$.variables')")
    db.close()
    again = await Store.open(path)
    assert again.get(record.id) == record.model_copy(update={"variables": {}})
    await again.close()
