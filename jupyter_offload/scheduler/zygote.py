"""The zygote: one process per environment that has imported everything and forks the supervisors of clusters.

Single-threaded, no event loop. What it forks is no child of it for long and outlives it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from . import become as child
from . import begin, preload
from .launch import PROTOCOL, BadLaunch, Launch, read_launch
from .process import process_start

log = logging.getLogger("offload.zygote")

#: Without a launch for this long a zygote ends.
IDLE_S = 15 * 60.0
_LOOK_S = 5.0
_LONGEST_REQUEST = 1 << 20


class Zygote:
    """Serves launch requests on a unix socket."""

    def __init__(self, path: Path, idle_s: float = IDLE_S) -> None:
        self._path = path
        self._idle_s = idle_s
        self._connections: dict[socket.socket, bytes] = {}
        self._done = False

    def serve(self) -> None:
        """Serve until told to exit, idle for long, or nobody can find the socket any more."""
        self._listen = _bind(self._path)
        inode = self._path.stat().st_ino
        signal.signal(signal.SIGTERM, _exit_on_term)
        last = time.monotonic()
        try:
            while not self._done and time.monotonic() - last < self._idle_s:
                readable, _, _ = select.select([self._listen, *self._connections], [], [], min(_LOOK_S, self._idle_s))
                if readable:
                    last = time.monotonic()
                for one in readable:
                    self._read(one)
                if not _is_ours(self._path, inode):
                    return
        finally:
            if _is_ours(self._path, inode):
                self._path.unlink()

    def _read(self, one: socket.socket) -> None:
        if one is self._listen:
            connection, _ = one.accept()
            connection.settimeout(5)  # a client that reads nothing must not hold all others
            self._connections[connection] = b""
            return
        try:
            data = one.recv(1 << 16)
            *lines, rest = (self._connections[one] + data).split(b"\n")
            for line in lines:
                one.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        except OSError:
            data, rest = b"", b""
        if not data or len(rest) > _LONGEST_REQUEST:
            del self._connections[one]
            one.close()
        else:
            self._connections[one] = rest

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            op = request["op"]
        except (ValueError, KeyError, TypeError):
            return _refusal("bad-request", "each line is one JSON object with an op")
        if op == "ping":
            return {"ok": True, "pid": os.getpid(), "protocol": PROTOCOL}
        if op == "exit":
            self._done = True
            return {"ok": True}
        if op != "launch":
            return _refusal("unknown-op", f"{op!r} is none of launch, ping, exit")
        try:
            return self._launch(request)
        except BadLaunch as error:
            return _refusal("bad-launch", str(error))
        except (OSError, TypeError, KeyError, preload.NotSingleThreaded) as error:
            return _refusal("cannot-fork", f"{type(error).__name__}: {error}")

    def _launch(self, request: dict[str, Any]) -> dict[str, Any]:
        launch = read_launch(request["launch"])
        env = {**(request.get("env") or os.environ), **launch.worker.env}
        preload.require_single_thread()
        pid = _fork_detached(launch, env, request.get("cwd"), [self._listen, *self._connections])
        return {"ok": True, "pid": pid, "start": process_start(pid)}


def _fork_detached(launch: Launch, env: dict[str, str], cwd: str | None, sockets: list[socket.socket]) -> int:
    """Fork a supervisor in a session of its own that is nobody's child; return its process id."""
    read, write = os.pipe()

    def supervise() -> int:
        os.close(write)
        return begin.supervise(launch, env, cwd)

    def detach() -> int:
        os.close(read)
        child.close_all(sockets)
        os.setsid()
        pid = child.fork(supervise)
        os.write(write, str(pid).encode())
        return 0

    between = child.fork(detach)
    os.close(write)
    os.waitpid(between, 0)
    answer = os.read(read, 32)
    os.close(read)
    if not answer:
        raise OSError("the system refused another process")
    return int(answer)


def _exit_on_term(*_: object) -> None:
    raise SystemExit(0)


def _refusal(code: str, message: str) -> dict[str, Any]:
    return {"ok": False, "error": {"code": code, "message": message}}


def _bind(path: Path) -> socket.socket:
    """Listen under a name that appears only when it answers."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    listen = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    listen.bind(str(temporary))
    temporary.chmod(0o600)
    listen.listen(64)
    temporary.rename(path)
    return listen


def _is_ours(path: Path, inode: int) -> bool:
    try:
        return path.stat().st_ino == inode
    except OSError:
        return False


def main(path: str, idle_s: float = IDLE_S) -> int:
    """``zygote SOCKET``: import once, then serve."""
    os.umask(0o077)
    try:
        preload.import_dask()
        preload.import_dashboard()
        preload.import_relay()
        from . import scheduler_process, supervisor, worker_process  # noqa: F401  (so that children need not)

        preload.require_single_thread()
    except (ImportError, preload.NotSingleThreaded) as error:
        print(f"{sys.executable} cannot be a zygote: {error}", file=sys.stderr)
        return 1
    preload.settle()
    Zygote(Path(path), idle_s).serve()
    return 0
