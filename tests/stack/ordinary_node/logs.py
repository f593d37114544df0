"""The kubelet's own port: logs of containers, for ``pods/log``."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Callable
from pathlib import Path

import tornado.httpserver
import tornado.iostream
import tornado.netutil
import tornado.web

from ..certificates import Authority
from .pod import Pod

_FOLLOW_S = 0.2
_CHUNK_BYTES = 65536


class _Logs(tornado.web.RequestHandler):
    def initialize(self, find: Callable[[str, str], Pod | None]) -> None:
        self._find = find

    async def get(self, namespace: str, name: str, container: str) -> None:
        pod = self._find(namespace, name)
        found = pod.find(container) if pod is not None else None
        previous = self.get_query_argument("previous", "") == "true"
        log = None if found is None else (found.folder / "previous.log" if previous else found.log)
        if found is None or log is None or not log.exists():
            raise tornado.web.HTTPError(404)
        self.set_header("Content-Type", "text/plain")
        content = await asyncio.to_thread(log.read_bytes)
        read = len(content)
        tail = self.get_query_argument("tailLines", "")
        if tail:
            lines = content.splitlines(keepends=True)
            content = b"".join(lines[max(0, len(lines) - int(tail)) :])
        limit = self.get_query_argument("limitBytes", "")
        if limit:
            content = content[: int(limit)]
        if self.get_query_argument("timestamps", "") == "true":
            at = datetime.datetime.now(datetime.UTC).isoformat().encode()
            content = b"".join(at + b" " + line for line in content.splitlines(keepends=True))
        self.write(content)
        await self.flush()
        try:
            while self.get_query_argument("follow", "") == "true":
                over = "running" not in found.state
                with log.open("rb") as file:
                    file.seek(read)
                    while more := file.read(_CHUNK_BYTES):
                        read += len(more)
                        self.write(more)
                        await self.flush()
                if over:
                    return
                await asyncio.sleep(_FOLLOW_S)
        except tornado.iostream.StreamClosedError:
            return


def serve_logs(folder: Path, pods: dict[str, Pod]) -> int:
    """Serve on a port of loopback with a certificate of its own, and return the port.

    Whoever comes to it reads the logs: it is a test's.
    """

    def find(namespace: str, name: str) -> Pod | None:
        wanted = (namespace, name)
        metas = ((pod, pod.pod["metadata"]) for pod in reversed(list(pods.values())))
        return next((pod for pod, meta in metas if (meta["namespace"], meta["name"]) == wanted), None)

    certificate = folder / "kubelet.pem"
    certificate.touch(mode=0o600)
    certificate.write_bytes(Authority("ordinary-node").server("kubelet", ["localhost"], ["127.0.0.1"]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    application = tornado.web.Application([(r"/containerLogs/([^/]+)/([^/]+)/([^/]+)", _Logs, {"find": find})])
    [listening] = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server = tornado.httpserver.HTTPServer(application, ssl_options=context)
    server.add_sockets([listening])
    return int(listening.getsockname()[1])
