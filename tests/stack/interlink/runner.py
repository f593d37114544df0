"""Runs one job and outlives the plugin, as a batch system does: ``runner.py FOLDER``. Standard library only.

``job.json`` in the folder says what to run; ``started.json`` and ``ended.json`` say what became of it. The job sees its volumes where
its pod has them, in a mount namespace of its own, and if told so nothing of the network but what a network namespace has.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def write(path: Path, document: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document))
    os.replace(new, path)


def check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def mount(source: str, target: str, kind: str, flags: int) -> None:
    check(_libc.mount(source.encode(), target.encode(), kind.encode(), flags, None), f"mount at {target}")


def become(job: dict[str, Any]) -> None:
    """Enter the job's namespaces; called in the child, before its program."""
    if job["netns"]:
        descriptor = os.open(f"/run/netns/{job['netns']}", os.O_RDONLY | os.O_CLOEXEC)
        check(_libc.setns(descriptor, _CLONE_NEWNET), "network namespace")
    if not job["mounts"]:
        return
    uid, gid = os.getuid(), os.getgid()
    check(_libc.unshare(_CLONE_NEWNS | (_CLONE_NEWUSER if uid else 0)), "mount namespace")
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    mount("tmpfs", "/run", "tmpfs", 0)  # volumes are mounted below it, so that nothing outside is touched
    for target, source in job["mounts"].items():
        Path(target).mkdir(parents=True, exist_ok=True)
        mount(source, target, "", _MS_BIND)


def main(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    began = time.time()
    child: subprocess.Popen[bytes] | None = None
    ending = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal ending
        ending = True
        if child is not None:
            child.terminate()
            signal.alarm(max(1, int(job["grace_s"])))

    def kill(_number: int, _frame: FrameType | None) -> None:
        if child is not None:
            os.killpg(child.pid, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, kill)
    with (folder / "log").open("ab") as log:
        try:
            child = subprocess.Popen(
                job["command"], env=job["env"], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=lambda: become(job),
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            log.write(f"{job['command'][0]}: {error}\n".encode())
            write(
                folder / "ended.json", {"exit_code": 127, "message": str(error), "began": began, "ended": time.time()}
            )
            return
    write(folder / "started.json", {"pid": child.pid, "runner": os.getpid(), "began": began})
    if ending:
        child.terminate()
    status = child.wait()
    signal.alarm(0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # what it left behind
    code = 128 - status if status < 0 else status
    write(folder / "ended.json", {"exit_code": code, "message": "", "began": began, "ended": time.time()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
