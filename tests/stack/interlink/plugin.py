"""A small site behind interLink: speaks the protocol of its plugins on a unix socket and runs each pod's command as a process.

Its argument is a file with ``SiteSettings``. The protocol is interLink's own (its ``pkg/interlink/types.go``).
"""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from .job import Job, timestamp
from .jobs import Jobs, SiteSettings

SOCKET = "plugin.sock"
#: How many pods the site takes.
PODS = 100
_LOOK_S = 0.2


class Site:
    """What the plugin answers."""

    def __init__(self, settings: SiteSettings) -> None:
        self.settings = settings
        self.jobs = Jobs(settings)
        self._told: dict[str, dict[str, Any]] = {}
        self._writing = threading.Lock()

    def note(self, path: str, request: Any) -> None:
        """Keep what was asked, for whoever tests; without secrets."""
        uid = None
        if isinstance(request, dict):
            uid = ((request.get("pod") or request).get("metadata") or {}).get("uid")
        with self._writing, (self.settings.folder / "requests.jsonl").open("a") as file:
            file.write(json.dumps({"at": time.time(), "path": path, "uid": uid}) + "\n")

    def inspect(self, request: dict[str, Any]) -> None:
        """Write down how a pod breaks the contract, if it does."""
        if not self.settings.strict:
            return
        secrets = [s for c in request.get("container") or [] for s in c.get("secrets") or []]
        try:
            # Here, since tests of the stack itself need nothing of the package.
            from jupyter_offload.backends.kubernetes.contract import violations

            found = violations(request["pod"], secrets[0] if secrets else None)
        except Exception as error:  # the pod is no worse for it
            found = [f"the contract cannot be checked: {error!r}"]
        if found:
            with self._writing, (self.settings.folder / "violations.jsonl").open("a") as file:
                file.write(json.dumps({"pod": request["pod"]["metadata"]["name"], "violations": found}) + "\n")

    def ping(self) -> str:
        behaviour = self.jobs.behaviour
        if behaviour.ping is not None:
            return behaviour.ping
        settings, models = self.settings, self.settings.models
        free = {resource: int(max(0, number)) for resource, number in self.jobs.free(behaviour).items()}
        zero = behaviour.capacity_zero
        return json.dumps({
            "status": "ok",
            "resources": {
                "cpu": str(0 if zero else settings.cores), "memory": f"{0 if zero else settings.memory_mib}Mi",
                "pods": str(0 if zero else PODS),
                "accelerators": [
                    {"resourceType": r, "model": models.get(r, r), "available": str(0 if zero else n)}
                    for r, n in settings.resources.items()
                ],
            },
            "site": {"name": "test", "free": {
                "cpu": free["cpu"], "memoryMi": free["memory"] // 2**20,
                "gpu": {models.get(r, r): free[r] for r in settings.resources},
            }, "measured": timestamp(time.time())},
        })  # fmt: skip

    def status(self, pods: list[dict[str, Any]]) -> str:
        behaviour = self.jobs.behaviour
        if behaviour.status == "null":
            return "null"
        uids = [pod["metadata"]["uid"] for pod in pods]
        if behaviour.status != "stale":
            found = [job for uid in uids if (job := self.jobs.get(uid)) is not None]
            self._told |= {job.uid: self._status(job) for job in found}
        return json.dumps([self._told[uid] for uid in uids if uid in self._told])

    def _status(self, job: Job) -> dict[str, Any]:
        state = job.state(self.jobs.waits(job))
        container = {
            "name": job.container["name"], "image": job.container.get("image", ""), "imageID": "", "restartCount": 0,
            "ready": "running" in state, "state": state,
        }  # fmt: skip
        return {
            "name": job.pod["metadata"]["name"], "UID": job.uid, "namespace": job.pod["metadata"]["namespace"],
            "JID": f"job-{job.number}", "containers": [container], "initContainers": [],
        }  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """One connection of interLink's API server."""

    protocol_version = "HTTP/1.1"
    site: Site

    def address_string(self) -> str:
        return "interlink"

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, content: str | bytes, status: int = 200, kind: str = "application/json") -> None:
        body = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> Any:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            raw = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return json.loads(raw) if raw.strip() else None

    def handle_any(self) -> None:
        path = self.path.split("?")[0]
        request = self.body()
        self.site.note(path if path != "/status" or request else "/ping", request)
        while self.site.jobs.behaviour.silent:
            time.sleep(_LOOK_S)
        try:
            self.dispatch(path, request)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

    def dispatch(self, path: str, request: Any) -> None:
        site = self.site
        if path == "/create":
            site.inspect(request)
            number = site.jobs.create(request)
            created = {"PodUID": request["pod"]["metadata"]["uid"], "PodJID": number}
            self.answer(json.dumps(created), site.jobs.behaviour.create_status)
            site.note("/created", request)
        elif path == "/status":
            self.answer(site.status(request) if request else site.ping())
        elif path == "/delete":
            site.jobs.delete(request["metadata"]["uid"])
            self.answer("[]")
        elif path == "/getLogs":
            self.logs(request)
        else:
            self.answer("not found", 404, "text/plain")

    def logs(self, request: dict[str, Any]) -> None:
        job, options = self.site.jobs.get(request["PodUID"]), request.get("Opts") or {}
        if job is None:
            self.answer("no such pod at this site\n", 404, "text/plain")
            return
        data = job.log()
        position = len(data)
        if options.get("Tail"):
            data = b"".join(data.splitlines(keepends=True)[-options["Tail"] :])
        if options.get("Bytes"):
            data = data[-options["Bytes"] :]
        if not options.get("Follow"):
            self.answer(data, kind="text/plain")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while True:
            self.wfile.write(data)
            self.wfile.flush()
            over = job.ended is not None
            data = job.log()[position:]
            position += len(data)
            if over and not data:
                return
            time.sleep(_LOOK_S)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    document = json.loads(Path(sys.argv[1]).read_text())
    settings = SiteSettings(**document | {"folder": Path(document["folder"])})
    Handler.site = Site(settings)
    path = settings.folder / SOCKET
    path.unlink(missing_ok=True)
    os.umask(0o077)  # whoever can open the socket can run what he likes
    Server(str(path), Handler).serve_forever()


if __name__ == "__main__":
    main()
