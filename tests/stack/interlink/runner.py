"""Runs one job and outlives the plugin, as a batch system does: ``runner.py FOLDER``. Standard library only.

``job.json`` in the folder says what to run. While the runner lives it holds the lock of ``lock``; ``runner.json``, ``started.json`` and
``ended.json`` say what became of the job, and ``cancel`` is there once it is not wanted. SIGTERM ends the job, with its grace; SIGALRM
at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CANCELLED = 143
_libc = ctypes.CDLL(None, use_errno=True)


def write(path: Path, document: dict[str, Any]) -> None:
    """Write a file, all or nothing."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(json.dumps(document))
    os.replace(new, path)


def check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int) -> None:
    check(_libc.mount(source.encode(), target.encode(), kind.encode(), flags, None), f"mount at {target}")


def own_mounts() -> None:
    """Enter a mount namespace of its own, as root or in a user namespace."""
    uid, gid = os.getuid(), os.getgid()
    check(_libc.unshare(_CLONE_NEWNS | (_CLONE_NEWUSER if uid else 0)), "mount namespace")
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    mount("none", "/", "", _MS_REC | _MS_PRIVATE)


def become(job: dict[str, Any], folder: Path) -> None:
    """Enter the job's namespaces and root; called in the child, before its program."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if job["netns"]:
        descriptor = os.open(f"/run/netns/{job['netns']}", os.O_RDONLY | os.O_CLOEXEC)
        check(_libc.setns(descriptor, _CLONE_NEWNET), "network namespace")
    if not job["mounts"] and job["root"] is None:
        return
    own_mounts()
    root = ""
    if job["root"] is not None:
        root = make_root(folder, job["root"])
    else:
        mount("tmpfs", "/run", "tmpfs", 0)  # volumes are mounted below it, so that nothing outside is touched
    for target, source in job["mounts"].items():
        Path(root + target).mkdir(parents=True, exist_ok=True)
        mount(source, root + target, "", _MS_BIND | _MS_REC)
    if root:
        os.chroot(root)
        os.chdir("/tmp")


def make_root(folder: Path, seen: list[str]) -> str:
    """Return a root with these folders of this machine, and what every program needs."""
    root = folder / "root"
    for made in (root, folder / "tmp"):
        made.mkdir(exist_ok=True)
    mount("tmpfs", str(root), "tmpfs", 0)
    places = {path: path for path in [*seen, "/dev", "/proc"]} | {"/tmp": str(folder / "tmp")}
    for target, source in places.items():
        there = Path(f"{root}{target}")
        there.parent.mkdir(parents=True, exist_ok=True)
        if os.path.islink(source):
            there.symlink_to(os.readlink(source))
        elif not there.exists():  # or in one that is seen already
            there.mkdir()
            mount(source, str(there), "", _MS_BIND | _MS_REC)
            if target in seen and os.getuid() == 0:
                mount("none", str(there), "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY)
    return str(root)


class Runner:
    """One job, from its start to its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.job = json.loads((folder / "job.json").read_text())
        self.child: subprocess.Popen[bytes] | None = None
        self.ending = False
        self.began = time.time()

    def run(self) -> None:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (self.folder / "ended.json").exists():
                return
            signal.signal(signal.SIGTERM, self.end)
            signal.signal(signal.SIGALRM, self.kill)
            if sys.platform == "linux":
                _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
            write(self.folder / "runner.json", {"pid": os.getpid(), "began": self.began})
            if (self.folder / "cancel").exists():
                self.over(_CANCELLED, "cancelled before it started")
            else:
                self.run_child()
            shutil.rmtree(self.folder / "volumes", ignore_errors=True)

    def run_child(self) -> None:
        with (self.folder / "log").open("ab") as log:
            try:
                self.child = subprocess.Popen(
                    self.job["command"], env=self.job["env"], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True, preexec_fn=lambda: become(self.job, self.folder),
                )  # fmt: skip
            except (OSError, subprocess.SubprocessError) as error:
                log.write(f"{self.job['command'][0]}: {error}\n".encode())
                self.over(127, f"cannot start {self.job['command'][0]}: {error}")
                return
        write(self.folder / "started.json", {"pid": self.child.pid, "began": self.began})
        if self.ending:
            self.child.terminate()
        status = self.child.wait()
        signal.alarm(0)
        self.kill_rest()
        if self.ending:
            self.over(128 - status if status < 0 else status, f"job {self.job['number']} was cancelled")
        elif status < 0:
            name = signal.Signals(-status).name
            self.over(128 - status, f"job {self.job['number']} was ended by {name} at the site")
        else:
            self.over(status, "")

    def end(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True
        if self.child is not None:
            self.child.terminate()
            signal.alarm(max(1, int(self.job["grace_s"])))

    def kill(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)

    def kill_rest(self) -> None:
        """End what the job left behind: its group, and on Linux whatever it started, which is this process's child by now."""
        assert self.child is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        while left := children():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def over(self, code: int, message: str) -> None:
        write(
            self.folder / "ended.json",
            {"exit_code": code, "message": message, "began": self.began, "ended": time.time()},
        )


def children() -> list[int]:
    """Return this process's children; none where the system does not list them."""
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


def may_mount() -> bool:
    """Tell whether this user may have mounts of his own; tried in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-I", __file__, "--may-mount"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode == 0


if __name__ == "__main__":
    if sys.argv[1] == "--may-mount":
        own_mounts()
    else:
        Runner(Path(sys.argv[1])).run()
