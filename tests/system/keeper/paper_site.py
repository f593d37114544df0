"""A site whose jobs are files in a folder. It is made to refuse, to be silent and to let go late, on demand and at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from jupyter_offload.api.models import (
    Capacity,
    ClusterSpec,
    Finding,
    Health,
    HealthState,
    Preview,
    Profile,
    Reason,
    ReasonCode,
    SiteDefinition,
    Worker,
    WorkerStage,
    WorkerState,
)
from jupyter_offload.api.problems import BadInput, Unavailable
from jupyter_offload.ports import Backend, ClusterContext, Owned, SaveHandle, WorkersSeen


class PaperSite(Backend):
    """``options``: ``folder`` with the jobs, each ``<owner>--<cluster>--<number>``, and ``mood.json``."""

    name: ClassVar[str] = "paper"

    @classmethod
    async def discover(cls, definition: SiteDefinition) -> Sequence[SiteDefinition] | None:
        names = definition.options.get("nodes")
        if names is None:
            return None
        options = {"folder": definition.options["folder"]}
        return [definition.model_copy(update={"name": n, "title": n, "options": options}) for n in names]

    def _mood(self) -> dict[str, Any]:
        """Return what the site does now.

        Raises:
            Unavailable: it is silent.
        """
        mood: dict[str, Any] = json.loads((self._folder / "mood.json").read_text())
        if mood.get("silent"):
            raise Unavailable("site-unreachable", "Nobody answers the paper site's door.")
        return mood

    @property
    def _folder(self) -> Path:
        return Path(self.site.options["folder"])

    def _jobs(self, owner: str, cluster: str = "*") -> list[Path]:
        return sorted(self._folder.glob(f"{owner}--{cluster}--*"))

    async def health(self) -> Health:
        self._mood()
        return Health(state=HealthState.healthy)

    async def capacity(self) -> Capacity:
        return Capacity()

    async def unavailable(self) -> Mapping[str, str]:
        return self._mood().get("unavailable", {})

    async def check(self) -> Sequence[Finding]:
        self._mood()
        return [Finding(check="door", state="ok", message="It is open.")]

    def preview(self, spec: ClusterSpec, profile: Profile, python: str) -> Preview:
        return Preview(kind="script", text="write a line", spec=spec, profile=profile)

    async def submit(self, cluster: ClusterContext, workers: int, save: SaveHandle) -> None:
        refusal = self._mood().get("refuses")
        if refusal:
            raise BadInput("quota-exceeded", refusal, hint="Ask for less.")
        await save({"workers": workers})
        for path in self._jobs(cluster.owner, cluster.id)[workers:]:
            path.unlink()
        for number in range(workers):
            (self._folder / f"{cluster.owner}--{cluster.id}--{number}").touch()

    async def observe(self, clusters: Sequence[ClusterContext]) -> Mapping[str, WorkersSeen]:
        queue = self._mood().get("queue", "Priority")
        found = {}
        for cluster in clusters:
            workers = [
                Worker(name=f"w{p.name.rpartition('-')[2]}", state=WorkerState.starting, stage=WorkerStage.queued,
                       message=queue, code=ReasonCode.site_queued, cores=1, memory_bytes=1, site_id=p.name[-1])
                for p in self._jobs(cluster.owner, cluster.id)
            ]  # fmt: skip
            problem = Reason(code=ReasonCode.site_queued, message=queue) if workers else None
            found[cluster.id] = WorkersSeen(workers=workers, problem=problem)
        return found

    async def cancel(self, cluster: ClusterContext) -> Sequence[str]:
        jobs = self._jobs(cluster.owner, cluster.id)
        if self._mood().get("keeps"):
            return [f"sheet {p.name[-1]}" for p in jobs]
        for path in jobs:
            path.unlink(missing_ok=True)
        return ()

    async def find_owned(self, owner: str) -> Sequence[Owned]:
        self._mood()
        return [
            Owned(p.name.split("--")[1], f"sheet {p.name[-1]}", {"path": str(p)}, os.stat(p).st_mtime)
            for p in self._jobs(owner)
        ]

    async def delete_owned(self, owned: Owned) -> bool:
        if self._mood().get("keeps"):
            return False
        Path(owned.handle["path"]).unlink(missing_ok=True)
        return True
