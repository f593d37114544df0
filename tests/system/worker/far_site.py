"""Workers at a site, as plain processes that get what a pod gets."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from hub_thread import DOMAIN, HubThread
from process_tree import TIMEOUT_S, TreeOfOne, descendants, until

from jupyter_offload.relay.certificates import issue_job_certificate, make_cluster_certificates
from jupyter_offload.worker.bundle import worker_bundle
from jupyter_offload.worker.endings import Ending, ending_of
from jupyter_offload.worker.job import BUNDLE, JOB, WorkerJob, job_command, job_file


class SiteWorker:
    """One job of the site."""

    def __init__(self, folder: Path, command: list[str], env: dict[str, str]) -> None:
        self.folder = folder
        self.log_file = folder.with_name(folder.name + ".log")
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def ended(self) -> tuple[int, Ending | None]:
        """Return how it ended by itself."""
        status = self.process.wait(TIMEOUT_S)
        return status, ending_of(status, self.log[-4000:])

    def dispose(self) -> None:
        pids = [*descendants(self.process.pid), self.process.pid] if self.process.poll() is None else []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(TIMEOUT_S)


class FarSite:
    """Whatever the cluster's workers need to come in, and the workers."""

    def __init__(self, tree: TreeOfOne, folder: Path) -> None:
        self.tree, self.folder = tree, folder
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self._certificates = make_cluster_certificates(folder / "tls", "test-cluster")
        roles = ("ca", "scheduler", "worker", "client")
        tree.tls.update({f"{role}_file": str(getattr(self._certificates, f"{role}_file")) for role in roles})
        self.hub = HubThread(folder / "relay", self._certificates.ca_file)
        tree.launch["relay"] = self.hub.launch
        self.workers: list[SiteWorker] = []

    def job(self, name: str = "wabc1234567", **changes: Any) -> tuple[Path, WorkerJob]:
        """Make the folder of a job, with everything in it but what the test changes."""
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        ca = self._certificates.ca_file
        (folder / "ca.pem").write_bytes(ca.read_bytes())
        (folder / "worker.pem").write_bytes(issue_job_certificate(ca.parent, name, datetime.timedelta(hours=1)))
        (folder / "relay-ca.pem").write_bytes(self.hub.ca_file.read_bytes())
        (folder / BUNDLE).write_bytes(worker_bundle())
        own = {"cert": f"{folder}/worker.pem", "key": f"{folder}/worker.pem"}
        config = {
            "relay": {"addresses": self.hub.launch["addresses"], "domain": DOMAIN, "ca-file": f"{folder}/relay-ca.pem"},
            "distributed": {
                "comm": {
                    "require-encryption": True,
                    "tls": {"ca-file": f"{folder}/ca.pem", "worker": own, "client": own},
                }
            },
        }
        job = WorkerJob(
            name=name, cores=1, memory_limit_bytes=1 << 30, host=f"w-{name}-", scheduler_address="relay://scheduler",
            dask_config=config, death_timeout_s=60,
        )  # fmt: skip
        return folder, replace(job, **changes)

    def start(
        self,
        made: tuple[Path, WorkerJob] | None = None,
        python: str = sys.executable,
        command: list[str] | None = None,
        **env: str,
    ) -> SiteWorker:
        """Start a job; its environment is built, not inherited."""
        folder, job = made or self.job()
        (folder / JOB).write_bytes(job_file(job))
        command = command or job_command(python, str(folder))
        built = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "TMPDIR": str(self.scratch), **env}
        self.workers.append(SiteWorker(folder, command, built))
        return self.workers[-1]

    def connected(self, count: int = 1) -> list[dict[str, Any]]:
        """Return the workers once that many are connected; a worker that ended instead is a failure."""

        def look() -> list[dict[str, Any]] | None:
            found = [w for w in self.tree.status()["workers"] if w["state"] == "connected"]
            if len(found) != count:
                assert sum(w.process.poll() is None for w in self.workers) >= count, "too few are left"
                return None
            return found

        found: list[dict[str, Any]] = until(look)
        return found

    def logs(self) -> str:
        return "\n".join(f"--- {worker.folder.name}\n{worker.log}" for worker in self.workers)

    def dispose(self) -> None:
        for worker in self.workers:
            worker.dispose()
        self.hub.stop()
