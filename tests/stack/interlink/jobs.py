"""The site's jobs and its queue. Everything is in files, so that a plugin that was killed comes back and finds its jobs as they are."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .behaviour import Behaviour, read
from .images import Image
from .job import CANCELLED, Job, all_in, timestamp
from .runner import write

RUNNER = Path(__file__).with_name("runner.py")
IMAGES = "images.json"
JOBS = "jobs"
#: As batch systems do it, at most this often.
_SCHEDULE_S = 0.1
#: Kubelets say what went wrong first, and then for how long they wait.
_BACK_OFF_S = 5
_MIB = 2**20


@dataclass(frozen=True)
class SiteSettings:
    """What the site is like.

    Attributes:
        folder: private; of the site alone.
        resources: what there is of each accelerator, such as ``{"nvidia.com/gpu": 2}``.
        models: what people call each.
        cores, memory_mib: of the whole site.
        netns: network namespace of its jobs; None = that of the plugin.
        mounts: whether jobs may have mounts of their own; otherwise words and variables name the folders that lie elsewhere.
        strict: whether pods that break the contract of interLink's plugins are written down.
    """

    folder: Path
    resources: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    cores: int = 64
    memory_mib: int = 64 * 1024
    netns: str | None = None
    mounts: bool = True
    strict: bool = True


def read_images(folder: Path) -> dict[str, Image]:
    """Return the site's images by name."""
    return {name: Image(**image) for name, image in json.loads((folder / IMAGES).read_text()).items()}


class Jobs:
    """All jobs, and the queue: starts what may start, the oldest first."""

    def __init__(self, settings: SiteSettings) -> None:
        self.settings = settings
        self._folder = settings.folder / JOBS
        self._tombstones = settings.folder / "tombstones"
        for folder in (self._folder, self._tombstones):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._jobs = {job.uid: job for job in all_in(self._folder)}
        self._numbers = max((job.number for job in self._jobs.values()), default=0)
        self._launched: dict[str, subprocess.Popen[bytes]] = {}
        threading.Thread(target=self._schedule, daemon=True).start()

    @property
    def behaviour(self) -> Behaviour:
        return read(self.settings.folder)

    def get(self, uid: str) -> Job | None:
        return self._jobs.get(uid)

    def all(self) -> list[Job]:
        with self._lock:
            return list(self._jobs.values())

    # ------------------------------------------------------------ create and delete
    def create(self, request: Mapping[str, Any]) -> str:
        """Take a pod; return the number of its job."""
        behaviour = self.behaviour
        pod = request["pod"]
        uid = pod["metadata"]["uid"]
        time.sleep(behaviour.create_delay_s)
        with self._lock:
            if uid in self._jobs:
                return f"job-{self._jobs[uid].number}"
            if (self._tombstones / uid).exists():
                return "deleted"
            self._numbers += 1
            folder = self._folder / uid
            shutil.rmtree(folder, ignore_errors=True)  # of a plugin that was killed just then
            folder.mkdir(mode=0o700)
            mounts = dict(_materialised(folder, pod, request.get("container") or [], behaviour))
            document = {"pod": pod, "number": self._numbers, "submitted": time.time(), "mounts": mounts}
            write(folder / "pod.json", document)
            job = Job(folder)
            if behaviour.refuse is not None:
                job.reject(behaviour.refuse)
            self._jobs[uid] = job
        return f"job-{job.number}"

    def delete(self, uid: str) -> None:
        behaviour = self.behaviour
        if behaviour.lose_delete:
            return
        with self._lock:
            if behaviour.tombstones:
                (self._tombstones / uid).touch()
            job = self._jobs.get(uid)
            if job is None or job.ended is not None:
                return
            if job.has_begun or uid in self._launched:
                job.cancel()
            else:
                job.reject(f"job {job.number} was cancelled before it started", CANCELLED)

    # ------------------------------------------------------------ the queue
    def waits(self, job: Job) -> tuple[str, str] | None:
        """Return why a job does not start now: reason and message, as a runtime or a batch system words it."""
        behaviour = self.behaviour
        image = job.container.get("image", "")
        if image not in read_images(self.settings.folder):
            if time.time() - job.submitted < _BACK_OFF_S:
                return "ErrImagePull", f'failed to pull and unpack image "{image}": {image}: not found'
            return "ImagePullBackOff", f'Back-off pulling image "{image}": {image}: not found'
        since = f"queued since {timestamp(job.submitted)}"
        if behaviour.queue is not None:
            return "Queued", f"job {job.number} PENDING ({behaviour.queue}), {since}"
        for resource, number in self.free(behaviour).items():
            if job.wants(resource) > number:
                message = f"job {job.number} PENDING (Resources) for {resource}, {since}, expected start unknown"
                return "Queued", message
        return None

    def free(self, behaviour: Behaviour) -> dict[str, float]:
        """Return how much of each resource no job has that runs or is about to."""
        settings = self.settings
        has = [j for j in self.all() if j.ended is None and (j.has_begun or j.uid in self._launched)]
        total = {"cpu": settings.cores, "memory": settings.memory_mib * _MIB, **settings.resources}
        free = {r: n - sum(j.wants(r) for j in has) for r, n in total.items()}
        if behaviour.gpus_free is not None:
            free |= {r: min(free[r], behaviour.gpus_free) for r in settings.resources}
        return free

    def _schedule(self) -> None:
        while True:
            time.sleep(_SCHEDULE_S)
            for job in self.all():
                with self._lock:
                    if job.ended is None and not job.has_begun and job.uid not in self._launched:
                        self._start_if_possible(job)
            self._look_after_runners()

    def _start_if_possible(self, job: Job) -> None:
        # Waiting jobs are looked at ten times a second: a fault of one must not end the queue.
        try:
            if self.waits(job) is None:
                self._start(job)
        except Exception as error:
            job.reject(f"job {job.number} cannot be started: {error!r}")

    def _look_after_runners(self) -> None:
        for uid, runner in list(self._launched.items()):
            if runner.poll() is not None:
                job = self._jobs[uid]
                if not job.has_begun and job.ended is None:
                    job.reject(f"job {job.number} cannot be run: {(job.folder / 'runner.log').read_text()[-1000:]}")
                del self._launched[uid]

    def _start(self, job: Job) -> None:
        container, settings = job.container, self.settings
        image = read_images(settings.folder)[container["image"]]
        root = image.root if settings.mounts else None
        home = str(job.folder) if root is None else "/tmp"
        # Built, and nothing of the plugin's own.
        env = {"HOME": home, "LANG": "C.UTF-8", **image.env}
        env |= {e["name"]: e.get("value", "") for e in container.get("env") or []}
        command = [*(container.get("command") or []), *(container.get("args") or [])]
        command[0] = shutil.which(command[0], path=env.get("PATH", "")) or command[0]
        mounts = job.mounts
        if not settings.mounts:
            for target, source in mounts.items():
                command = [word.replace(target, source) for word in command]
                env = {name: value.replace(target, source) for name, value in env.items()}
            mounts = {}
        write(job.folder / "job.json", {
            "command": command, "env": env, "mounts": mounts, "root": root, "netns": settings.netns, "number": job.number,
            "grace_s": job.pod["spec"].get("terminationGracePeriodSeconds") or 5,
        })  # fmt: skip
        with (job.folder / "runner.log").open("ab") as log:
            self._launched[job.uid] = subprocess.Popen(
                [sys.executable, "-I", str(RUNNER), str(job.folder)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip


def _materialised(
    folder: Path, pod: Mapping[str, Any], data: list[Mapping[str, Any]], behaviour: Behaviour
) -> Iterator[tuple[str, str]]:
    """Write the volumes, readable for nobody else; yield mount paths with the folders that are to be seen there."""
    volumes = {v["name"]: v for v in pod["spec"].get("volumes") or []}
    secrets = {s["metadata"]["name"]: s.get("data") or {} for c in data for s in c.get("secrets") or []}
    maps = {m["metadata"]["name"]: m.get("data") or {} for c in data for m in c.get("configMaps") or []}
    for mount in pod["spec"]["containers"][0].get("volumeMounts") or []:
        volume = volumes[mount["name"]]
        if "hostPath" in volume:
            yield mount["mountPath"], volume["hostPath"]["path"]
            continue
        if "secret" in volume and behaviour.drop_secrets:
            continue
        host = folder / "volumes" / mount["name"]
        host.mkdir(mode=0o700, parents=True)
        secret = secrets.get((volume.get("secret") or {}).get("secretName"), {})
        content = {name: base64.b64decode(value) for name, value in secret.items()}
        chosen = maps.get((volume.get("configMap") or {}).get("name"), {})
        content |= {name: value.encode() for name, value in chosen.items()}
        for name, value in content.items():
            with open(os.open(host / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(value)
        yield mount["mountPath"], str(host)
