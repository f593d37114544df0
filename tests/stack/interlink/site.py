"""The site behind a virtual node as whoever tests sees and changes it: by its folder, whether its plugin runs or not."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from .behaviour import Behaviour, names, write
from .images import Image
from .job import Job, all_in
from .jobs import IMAGES, JOBS, read_images
from .runner import write as write_document


class Site:
    """A site.

    Args:
        folder: of its state.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # ------------------------------------------------------------ what it does
    def misbehave(self, **how: Any) -> None:
        """Behave so from the next answer on (see ``Behaviour``), and otherwise well."""
        assert set(how) <= names(), f"none of {sorted(names())}: {sorted(set(how) - names())}"
        write(self.folder, Behaviour(**how))

    def behave(self) -> None:
        """Behave well again."""
        write(self.folder, Behaviour())

    @contextlib.contextmanager
    def misbehaving(self, **how: Any) -> Any:
        """Misbehave as long as this lasts."""
        self.misbehave(**how)
        try:
            yield
        finally:
            self.behave()

    def add_images(self, **images: Image) -> None:
        """Have more images, or others of the same names, for jobs that start from now on."""
        known = read_images(self.folder) if (self.folder / IMAGES).exists() else {}
        write_document(self.folder / IMAGES, {name: asdict(image) for name, image in (known | images).items()})

    @property
    def images(self) -> Mapping[str, Image]:
        """Its images by name."""
        return read_images(self.folder)

    # ------------------------------------------------------------ what is seen
    def _jobs(self) -> list[Job]:
        return all_in(self.folder / JOBS)

    def jobs(self) -> list[dict[str, Any]]:
        """Return what the site runs or ran: uid, pod, namespace, number, pid (None when it does not run), and state: ``queued``,
        ``running`` or ``ended``."""
        found = []
        for job in self._jobs():
            state = "running" if job.is_running else "ended" if job.ended or job.has_begun else "queued"
            found.append({
                "uid": job.uid, "pod": job.name, "namespace": job.pod["metadata"]["namespace"], "number": job.number,
                "state": state, "pid": job.pid,
            })  # fmt: skip
        return found

    def running(self) -> list[dict[str, Any]]:
        """Return the jobs that run or wait."""
        return [j for j in self.jobs() if j["state"] != "ended"]

    def processes(self) -> list[psutil.Process]:
        """Return every process of the site's jobs."""
        found = []
        for pid in (job.pid for job in self._jobs()):
            with contextlib.suppress(psutil.NoSuchProcess):
                if pid is not None:
                    root = psutil.Process(pid)
                    found += [root, *root.children(recursive=True)]
        return found

    def log(self, pod: str) -> str:
        """Return what the newest job of a pod wrote."""
        return next(job.log().decode() for job in reversed(self._jobs()) if job.name == pod)

    def folder_of(self, pod: str) -> Path:
        """Return the folder of a pod's newest job."""
        return next(job.folder for job in reversed(self._jobs()) if job.name == pod)

    def end_job(self, pod: str) -> None:
        """End a pod's job at once, behind everybody's back, as a batch system or an operator does."""
        pid = next(job.pid for job in reversed(self._jobs()) if job.name == pod)
        assert pid is not None, f"the job of {pod} does not run"
        os.kill(pid, 9)

    def requests(self, path: str | None = None) -> list[dict[str, Any]]:
        """Return what the plugin was asked, oldest first: ``at``, ``path`` and ``uid`` each. ``/ping`` is a path too, and
        ``/created`` that a creation was answered."""
        return [r for r in self._lines("requests.jsonl") if path in (None, r["path"])]

    def violations(self) -> list[dict[str, Any]]:
        """Return the pods that broke the contract, and how."""
        return self._lines("violations.jsonl")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]
        return []
