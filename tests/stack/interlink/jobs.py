"""The jobs of the site: what was asked, what runs, and what became of it. Everything is in files, so that a plugin that was killed
comes back and finds its jobs as they are."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from .behaviour import Behaviour, read
from .runner import write

RUNNER = Path(__file__).with_name("runner.py")
#: As batch systems do it, at most this often.
_SCHEDULE_S = 0.1


@dataclass(frozen=True)
class SiteSettings:
    """What the site is like.

    Attributes:
        folder: private; of the site alone.
        images: by name: variables of the environment (``PATH`` finds the command).
        resources: what there is of each accelerator, such as ``{"nvidia.com/gpu": 2}``.
        models: what people call each.
        cores, memory_mib: of the whole site.
        netns: network namespace of its jobs; None = that of the plugin.
        strict: whether each pod must obey the contract of interLink's plugins.
    """

    folder: Path
    images: Mapping[str, Mapping[str, str]]
    resources: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    cores: int = 64
    memory_mib: int = 64 * 1024
    netns: str | None = None
    strict: bool = True


class Job:
    """One pod's job in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uid = folder.name
        document = json.loads((folder / "pod.json").read_text())
        self.pod: dict[str, Any] = document["pod"]
        self.number: int = document["number"]
        self.submitted: float = document["submitted"]

    @property
    def container(self) -> dict[str, Any]:
        found: dict[str, Any] = self.pod["spec"]["containers"][0]
        return found

    def wants(self, resource: str) -> int:
        limits = (self.container.get("resources") or {}).get("limits") or {}
        return int(limits.get(resource, 0))

    def document(self, name: str) -> dict[str, Any] | None:
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.folder / name).read_text())
            return found
        return None

    @property
    def ended(self) -> dict[str, Any] | None:
        return self.document("ended.json")

    @property
    def runner(self) -> psutil.Process | None:
        """The living process that runs it."""
        known = self.document("runner.json")
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(known["pid"]) if known else None
            if process and abs(process.create_time() - known["created"]) < 2 and process.status() != "zombie":  # type: ignore[index]
                return process
        return None

    @property
    def is_running(self) -> bool:
        return self.document("runner.json") is not None and self.ended is None

    def reject(self, message: str, code: int = 1) -> None:
        write(
            self.folder / "ended.json",
            {"exit_code": code, "message": message, "began": time.time(), "ended": time.time()},
        )

    # ------------------------------------------------------------ what interLink is told
    def state(self, waits: tuple[str, str] | None) -> dict[str, Any]:
        """Return the container's state; ``waits`` is reason and message of one that does not run yet."""
        ended = self.ended
        if ended is not None:
            return {"terminated": {
                "exitCode": ended["exit_code"], "reason": "Error" if ended["exit_code"] else "Completed",
                "message": ended["message"], "startedAt": _time(ended["began"]), "finishedAt": _time(ended["ended"]),
            }}  # fmt: skip
        known = self.document("runner.json")
        if known is not None and self.runner is None:
            time.sleep(0.05)  # it may just have ended
            if self.ended is None:
                self.reject("The job vanished: its process was killed.", 137)
            return self.state(waits)
        if known is not None:
            return {"running": {"startedAt": _time(known["created"])}}
        reason, message = waits or ("Pending", f"job {self.number} is about to start")
        return {"waiting": {"reason": reason, "message": message}}

    def log(self) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "log").read_bytes()
        return b""


class Jobs:
    """All jobs, and the queue: starts what may start."""

    def __init__(self, settings: SiteSettings) -> None:
        self.settings = settings
        self._folder = settings.folder / "jobs"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._jobs = {f.name: Job(f) for f in sorted(self._folder.iterdir()) if (f / "pod.json").exists()}
        self._tombstones: set[str] = set()
        self._numbers = max((j.number for j in self._jobs.values()), default=0)
        self._children: list[subprocess.Popen[bytes]] = []
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
            if uid in self._tombstones:
                return "deleted"
            self._numbers += 1
            folder = self._folder / uid
            folder.mkdir(mode=0o700)
            mounts = self._mounts(folder, pod, request.get("container") or [], behaviour)
            write(
                folder / "pod.json", {"pod": pod, "number": self._numbers, "submitted": time.time(), "mounts": mounts}
            )
            job = self._jobs[uid] = Job(folder)
        if behaviour.refuse is not None:
            job.reject(behaviour.refuse)
        return f"job-{job.number}"

    def _mounts(
        self, folder: Path, pod: Mapping[str, Any], data: list[Mapping[str, Any]], behaviour: Behaviour
    ) -> dict[str, str]:
        """Write the volumes; return host folders by mount path."""
        volumes = {v["name"]: v for v in pod["spec"].get("volumes") or []}
        secrets = {s["metadata"]["name"]: s.get("data") or {} for c in data for s in c.get("secrets") or []}
        maps = {m["metadata"]["name"]: m.get("data") or {} for c in data for m in c.get("configMaps") or []}
        mounts = {}
        for mount in pod["spec"]["containers"][0].get("volumeMounts") or []:
            volume = volumes[mount["name"]]
            if "hostPath" in volume:
                mounts[mount["mountPath"]] = volume["hostPath"]["path"]
                continue
            if "secret" in volume and behaviour.drop_secrets:
                continue
            host = folder / "volumes" / mount["name"]
            host.mkdir(mode=0o700, parents=True)
            content = {
                k: base64.b64decode(v) for k, v in secrets.get(volume.get("secret", {}).get("secretName"), {}).items()
            }
            content |= {k: v.encode() for k, v in maps.get(volume.get("configMap", {}).get("name"), {}).items()}
            for name, value in content.items():
                with open(os.open(host / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(value)
            mounts[mount["mountPath"]] = str(host)
        return mounts

    def delete(self, uid: str) -> None:
        behaviour = self.behaviour
        if behaviour.lose_delete:
            return
        with self._lock:
            if behaviour.tombstones:
                self._tombstones.add(uid)
            job = self._jobs.get(uid)
        if job is None:
            return
        if not job.is_running:
            if job.ended is None:
                job.reject("deleted before it started", 143)
        elif (runner := job.runner) is not None:
            runner.send_signal(signal.SIGTERM)
        shutil.rmtree(job.folder / "volumes", ignore_errors=True)

    # ------------------------------------------------------------ the queue
    def waits(self, job: Job) -> tuple[str, str] | None:
        """Return why a job does not start now: reason and message, as a runtime or a batch system words it."""
        behaviour = self.behaviour
        image = job.container.get("image", "")
        if image not in self.settings.images:
            return "ImagePullBackOff", f'Back-off pulling image "{image}": not found'
        since = f"queued since {_time(job.submitted)}"
        if behaviour.queue is not None:
            return "Queued", f"job {job.number} PENDING ({behaviour.queue}), {since}"
        free = self.free(behaviour)
        for resource, number in free.items():
            if job.wants(resource) > number:
                return "Queued", f"job {job.number} PENDING (Resources) for {resource}, {since}, expected start unknown"
        return None

    def free(self, behaviour: Behaviour) -> dict[str, int]:
        """Return how many of each accelerator no running job has."""
        running = [j for j in self.all() if j.is_running]
        free = {r: n - sum(j.wants(r) for j in running) for r, n in self.settings.resources.items()}
        if behaviour.gpus_free is not None:
            free = {r: min(n, behaviour.gpus_free) for r, n in free.items()}
        return free

    def _schedule(self) -> None:
        while True:
            time.sleep(_SCHEDULE_S)
            self._children = [c for c in self._children if c.poll() is None]
            for job in self.all():
                if job.document("runner.json") is None and job.ended is None and self.waits(job) is None:
                    self._start(job)

    def _start(self, job: Job) -> None:
        container = job.container
        env = {"HOME": str(job.folder), "LANG": "C.UTF-8", **self.settings.images[container["image"]]}
        env |= {e["name"]: e.get("value", "") for e in container.get("env") or []}
        command = [*(container.get("command") or []), *(container.get("args") or [])]
        command[0] = shutil.which(command[0], path=env.get("PATH", "")) or command[0]
        write(job.folder / "job.json", {
            "command": command, "env": env, "mounts": json.loads((job.folder / "pod.json").read_text())["mounts"],
            "netns": self.settings.netns, "grace_s": job.pod["spec"].get("terminationGracePeriodSeconds") or 5,
        })  # fmt: skip
        with (job.folder / "runner.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-I", str(RUNNER), str(job.folder)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._children.append(child)
        write(job.folder / "runner.json", {"pid": child.pid, "created": psutil.Process(child.pid).create_time()})


def end_all(folder: Path) -> None:
    """End what still runs of a site whose plugin is over."""
    for path in (folder / "jobs").glob("*/pod.json"):
        job = Job(path.parent)
        started = job.document("started.json")
        if (runner := job.runner) is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                if started is not None:
                    os.killpg(started["pid"], signal.SIGKILL)
                runner.kill()


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
