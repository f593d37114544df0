"""The local backend keeps the promises of every backend, with real scheduler processes and workers."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_offload.api.models import ClusterSpec, Reason, ReasonCode, SiteDefinition
from jupyter_offload.api.problems import BadInput
from jupyter_offload.backends.conformance import Conformance, MakeContext, Saved, until_connected
from jupyter_offload.backends.local import LocalBackend
from jupyter_offload.keeper import folders
from jupyter_offload.keeper.control import ControlLine
from jupyter_offload.keeper.lifecycle import Sight
from jupyter_offload.keeper.local_site import definition
from jupyter_offload.keeper.schedulers import Schedulers
from jupyter_offload.keeper.store import Record, boot_id, container_id
from jupyter_offload.ports import Backend, ClusterContext


class TestLocal(Conformance):
    @pytest.fixture
    def backend(self) -> Backend:
        return LocalBackend(definition())

    @pytest.fixture
    async def make_context(self, monkeypatch) -> AsyncIterator[MakeContext]:
        import asyncio

        home = Path(tempfile.mkdtemp(dir="/tmp"))
        monkeypatch.setenv("JUPYTER_DATA_DIR", str(home))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
        schedulers = Schedulers()
        records: list[Record] = []

        async def make() -> ClusterContext:
            spec, now = ClusterSpec(name=f"c{len(records)}", workers=0), time.time()
            profile = definition().profiles[0].model_copy(update={"memory_bytes": 2**29})
            cluster_id = uuid.uuid4().hex
            place = folders.places(cluster_id)
            record = Record(
                id=cluster_id, name=spec.name, owner="me", requested=spec, spec=spec, profile=profile, site_title="Here",
                python=sys.executable, host="here", boot_id=boot_id(), container_id=container_id(), folder=place.folder,
                runtime=place.runtime, spill=place.spill, created_at=now, phase_since=now, launched_at=now,
                reason=Reason(code=ReasonCode.accepted, message="Accepted."),
            )  # fmt: skip
            record = record.model_copy(update={"supervisor": await schedulers.launch(record, 0)})
            records.append(record)
            async with asyncio.timeout(60):
                while (seen := await schedulers.look(record)).sight is not Sight.ready:
                    assert seen.sight is Sight.starting, seen
                    await asyncio.sleep(0.02)
            return ClusterContext(record.id, record.name, "me", "me", spec, profile, {}, schedulers.control(record))

        yield make
        for record in records:
            assert await schedulers.end(record)
        await schedulers.close(end_zygotes=True)
        shutil.rmtree(home)

    @pytest.fixture
    def unreachable(self, tmp_path) -> Callable[[ClusterContext], ClusterContext]:
        return lambda context: replace(context, control=ControlLine(tmp_path / "nobody"))

    async def test_it_learns_how_long_a_worker_takes(self, backend: Backend, make_context: MakeContext) -> None:
        assert (await backend.capacity()).expected_start_s is None, "nothing is known yet"
        saved = Saved(await make_context())
        await backend.submit(saved.context, 1, saved)
        await until_connected(backend, saved.context, 1)
        expected = (await backend.capacity()).expected_start_s
        assert expected is not None and 0 < expected < 60

    async def test_without_a_scheduler_there_is_nothing_to_see_and_nothing_to_end(self, backend, make_context) -> None:
        context = replace(await make_context(), control=None)
        assert not (await backend.observe([context]))[context.id].visible
        assert not await backend.cancel(context)


def test_options_are_refused_all_at_once() -> None:
    site = SiteDefinition.model_validate({**definition().model_dump(), "options": {"queue": "long", "account": "me"}})
    with pytest.raises(BadInput) as caught:
        LocalBackend(site)
    assert [p.field for p in caught.value.errors] == ["options.account", "options.queue"]


def test_more_than_the_machine_has_is_said_before() -> None:
    site = definition(cores=2, memory_bytes=2**32)
    spec, profile = ClusterSpec(name="big", workers=500), site.profiles[0]
    warnings = LocalBackend(site).preview(spec, profile, "/usr/bin/python3").warnings
    assert any("cores" in w for w in warnings) and any("GiB" in w for w in warnings)
    small = ClusterSpec(name="small", workers=1)
    assert LocalBackend(site).preview(small, profile.model_copy(update={"memory_bytes": 1}), "python").warnings == []
