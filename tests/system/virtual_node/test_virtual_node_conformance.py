"""The backend keeps the promises of every backend, on the real virtual node with real schedulers and a real relay."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from jupyter_offload.api import locations
from jupyter_offload.api.models import ClusterSpec, Phase, Reason, ReasonCode, SiteDefinition
from jupyter_offload.backends.conformance import Conformance, MakeContext
from jupyter_offload.backends.kubernetes import KubernetesBackend
from jupyter_offload.keeper import folders
from jupyter_offload.keeper.lifecycle import Sight
from jupyter_offload.keeper.relay.relays import Relays
from jupyter_offload.keeper.schedulers import Schedulers
from jupyter_offload.keeper.store import Record, Store, boot_id, container_id
from jupyter_offload.ports import Backend, ClusterContext
from tests.stack.interlink.node import VirtualNode

from .conftest import LOOPBACK


class TestKubernetes(Conformance):
    @pytest.fixture
    async def backend(self, virtual_node: VirtualNode, kubeconfig: Path) -> AsyncIterator[Backend]:
        virtual_node.behave()
        virtual_node.until_ready()
        site = SiteDefinition.model_validate({"name": "far", **virtual_node.site_file(kubeconfig=str(kubeconfig))})
        made = await asyncio.to_thread(KubernetesBackend, site)
        await made.health()
        yield made
        await made.close()

    @pytest.fixture
    async def make_context(self, backend: Backend, monkeypatch) -> AsyncIterator[MakeContext]:
        home = Path(tempfile.mkdtemp(dir="/tmp"))
        for name, folder in (("JUPYTER_DATA_DIR", "d"), ("JUPYTER_CONFIG_DIR", "c"), ("XDG_RUNTIME_DIR", "r")):
            (home / folder).mkdir(mode=0o700)
            monkeypatch.setenv(name, str(home / folder))
        (home / "c" / "offload").mkdir()
        (home / "c" / "offload" / "relay.yaml").write_text(LOOPBACK)
        locations.owner_id()
        schedulers, store = Schedulers(), await Store.open(home / "records.sqlite")
        relays = Relays(store, lambda _: None)
        relays.start()
        records: list[str] = []

        async def make() -> ClusterContext:
            spec, now = ClusterSpec(name=f"c{len(records)}", site="far", workers=0), time.time()
            profile = backend.site.profiles[0]
            cluster_id = uuid.uuid4().hex
            place = folders.places(cluster_id)
            record = Record(
                id=cluster_id, name=spec.name, owner="me", requested=spec, spec=spec, profile=profile, site_title="Far",
                python=sys.executable, host=locations.host_name(), boot_id=boot_id(), container_id=container_id(),
                folder=place.folder, runtime=place.runtime, spill=place.spill, created_at=now, phase_since=now,
                launched_at=now, reason=Reason(code=ReasonCode.accepted, message="Accepted."),
            )  # fmt: skip
            record = await store.insert(record, [])
            records.append(record.id)
            use = await relays.bind(record)
            record = await store.update(record.id, lambda r: (r.model_copy(update={"relay": use}), ()))
            relays.keep(record)
            supervisor = await schedulers.launch(record, 0)
            record = await store.update(record.id, lambda r: (r.model_copy(update={"supervisor": supervisor}), ()))
            async with asyncio.timeout(60):
                while (seen := await schedulers.look(record)).sight is not Sight.ready:
                    assert seen.sight is Sight.starting, seen
                    await asyncio.sleep(0.02)
            return ClusterContext(
                record.id, record.name, locations.owner_id(), "me", spec, profile, {}, schedulers.control(record),
                relays.dial_out(record),
            )  # fmt: skip

        yield make
        for one in records:
            record = store.get(one)
            assert record is not None
            assert await schedulers.end(record)
            context = ClusterContext(one, "x", locations.owner_id(), "me", record.spec, record.profile, {}, None)
            async with asyncio.timeout(60):
                while await backend.cancel(context):
                    await asyncio.sleep(0.2)
            await relays.give_back(record)
            await store.update(one, lambda r: (r.model_copy(update={"cleaned": True, "phase": Phase.stopped}), ()))
        await relays.stop()
        await schedulers.close(end_zygotes=True)
        await store.close()
        shutil.rmtree(home)

    @pytest.fixture
    def unreachable(self, virtual_node: VirtualNode) -> Iterator[Callable[[ClusterContext], ClusterContext]]:
        """The API server takes connections and answers nothing, for longer than it is waited for."""
        timers: list[threading.Timer] = []
        process = virtual_node.cluster.process("kube-apiserver")

        def suspend(context: ClusterContext) -> ClusterContext:
            process.suspend()
            timers.append(threading.Timer(15, process.resume))
            timers[-1].start()
            return context

        yield suspend
        for timer in timers:
            timer.join()
