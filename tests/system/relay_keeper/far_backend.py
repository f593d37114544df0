"""A backend for tests, loaded as a plugin is: ordinary ``dask worker`` processes that know nothing but what ports.py hands out.

Each worker is a job. Its Python needs ``distributed`` and the relay bundle on PYTHONPATH; its environment is built, not
inherited.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from jupyter_offload import __version__
from jupyter_offload.api.models import Capacity, ClusterSpec, Finding, Health, HealthState, Preview, Profile, Worker
from jupyter_offload.api.problems import OffloadError
from jupyter_offload.backends.local import worker_of
from jupyter_offload.keeper.processes import end_tree
from jupyter_offload.keeper.store.records import ProcessName
from jupyter_offload.ports import Backend, Capability, ClusterContext, Owned, SaveHandle, WorkersSeen
from jupyter_offload.relay.bundle import write_bundle
from jupyter_offload.scheduler.process import is_alive, process_start


class FarBackend(Backend):
    """Options: ``python`` of the workers, a ``folder`` for their files, more ``arguments`` of ``dask worker``."""

    name = "far"
    capabilities = frozenset({Capability.dial_out, Capability.scale_down_choice})

    async def health(self) -> Health:
        return Health(state=HealthState.healthy)

    async def capacity(self) -> Capacity:
        return Capacity()

    async def check(self) -> Sequence[Finding]:
        return [Finding(check="far", state="ok", message="It is there.")]

    def preview(self, spec: ClusterSpec, profile: Profile, python: str) -> Preview:
        return Preview(kind="command", text="dask worker relay://scheduler", spec=spec, profile=profile)

    # ------------------------------------------------------------ workers
    def _folder(self, cluster: ClusterContext) -> Path:
        return Path(self.site.options["folder"]) / cluster.id

    async def submit(self, cluster: ClusterContext, workers: int, save: SaveHandle) -> None:
        jobs = self._living(cluster)
        for _ in range(workers - len(jobs)):
            job = "j" + secrets.token_hex(4)
            jobs[job] = await self._start(cluster, job)
            await save({"jobs": {**cluster.handle.get("jobs", {}), **jobs}})
        surplus = dict(list(jobs.items())[workers:])
        if surplus and cluster.control is not None:
            await cluster.control.call("retire", names=list(surplus))
        for job, process in surplus.items():
            await self._end(cluster, job, process)

    async def _start(self, cluster: ClusterContext, job: str) -> dict[str, Any]:
        assert cluster.dial_out is not None
        credentials = await cluster.dial_out.credentials(job, 3600)
        folder = self._folder(cluster) / job
        (folder / "dask").mkdir(mode=0o700, parents=True)
        for name, content in credentials.files.items():
            with open(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        (folder / "dask" / "relay.yaml").write_text(yaml.safe_dump(credentials.dask_config(str(folder))))
        write_bundle(folder / "relay.zip", __version__)
        kept = ("PATH", "JUPYTER_DATA_DIR")  # by the latter the test finds what is left
        env = {name: os.environ[name] for name in kept if name in os.environ}
        env |= {"PYTHONPATH": str(folder / "relay.zip"), "DASK_CONFIG": str(folder / "dask"), "HOME": str(folder)}
        command = [
            self.site.options["python"], "-m", "distributed.cli.dask_worker", credentials.scheduler_address,
            "--protocol", "relay", "--host", credentials.host, "--name", job, "--nthreads", str(cluster.profile.cores),
            "--memory-limit", str(cluster.profile.memory_bytes), "--local-directory", str(folder), "--no-dashboard",
            "--death-timeout", "60", *self.site.options.get("arguments", []),
        ]  # fmt: skip
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return {"pid": process.pid, "start": process_start(process.pid) or "gone"}

    async def _end(self, cluster: ClusterContext, job: str, process: Mapping[str, Any]) -> bool:
        name = ProcessName.model_validate(process)
        ended = await asyncio.to_thread(end_tree, name, ())
        _reap(name.pid)
        if cluster.dial_out is not None:
            await cluster.dial_out.revoke(job)
        return ended

    @staticmethod
    def _living(cluster: ClusterContext) -> dict[str, Any]:
        jobs = cluster.handle.get("jobs", {})
        for process in jobs.values():
            _reap(process["pid"])
        return {job: p for job, p in jobs.items() if is_alive(p["pid"], p["start"])}

    async def observe(self, clusters: Sequence[ClusterContext]) -> Mapping[str, WorkersSeen]:
        return {c.id: await self._observe(c) for c in clusters}

    async def _observe(self, cluster: ClusterContext) -> WorkersSeen:
        if cluster.control is None:
            return WorkersSeen(visible=False)
        try:
            status = await cluster.control.call("status", events_since=0)
        except OffloadError:
            return WorkersSeen(visible=False)
        workers = {w["name"]: worker_of(w) for w in status["workers"]}
        size = {"cores": cluster.profile.cores, "memory_bytes": cluster.profile.memory_bytes}
        for job in self._living(cluster):
            workers.setdefault(job, Worker(name=job, state="starting", **size))
        return WorkersSeen(workers=list(workers.values()))

    async def cancel(self, cluster: ClusterContext) -> Sequence[str]:
        jobs = cluster.handle.get("jobs", {})
        ended = await asyncio.gather(*(self._end(cluster, job, p) for job, p in jobs.items()))
        if all(ended):
            await asyncio.to_thread(shutil.rmtree, self._folder(cluster), True)
        return [job for job, gone in zip(jobs, ended, strict=True) if not gone]

    async def find_owned(self, owner: str) -> Sequence[Owned]:
        return ()


def _reap(pid: int) -> None:
    """A worker that this keeper started is its child."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
