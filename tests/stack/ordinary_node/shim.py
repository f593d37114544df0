"""Run one container as a process of this machine: ``python shim.py < what.json``. Standard library only.

The process gets a host name and a view of the file system of its own, where files lie where the pod says (namespaces of mounts
and host names, inside a user namespace where this user is not root). Whatever it leaves behind ends with it, as everything in a
container ends with its first process, and all of it ends by force when the node does.

What is read: ``{"hostname", "command": [...], "env": {...}, "folder", "mounts": [{"source", "target", "read_only"}]}``; ``folder``
is an empty folder where the view is put together. SIGTERM goes to the container's process alone, as a kubelet sends it; SIGUSR1
ends everything by force.
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
from typing import Any

_NEW_MOUNTS, _NEW_HOSTNAME, _NEW_USER = 0x00020000, 0x04000000, 0x10000000
_BIND, _RECURSIVE, _PRIVATE, _REMOUNT, _READ_ONLY = 0x1000, 0x4000, 0x40000, 0x20, 0x1
_PARENT_DEATH_SIGNAL, _SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)

#: Exit codes as a container runtime gives them.
CANNOT_START = 128
NOT_FOUND = 127


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: Path, kind: str, flags: int) -> None:
    data = b"mode=755" if kind == "tmpfs" else None
    _check(_libc.mount(source.encode(), str(target).encode(), kind.encode(), flags, data), f"mount {target}")


def separate(hostname: str) -> None:
    """Give this process mounts and a host name of its own.

    Raises:
        OSError: this machine lets nobody but root do that.
    """
    user, group = os.getuid(), os.getgid()
    flags = _NEW_MOUNTS | _NEW_HOSTNAME | (0 if user == 0 else _NEW_USER)
    _check(_libc.unshare(flags), "unshare")
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _mount("none", Path("/"), "none", _RECURSIVE | _PRIVATE)
    name = hostname.encode()
    _check(_libc.sethostname(name, len(name)), "sethostname")


def furnish(root: Path, mounts: list[dict[str, Any]]) -> None:
    """Put a view of the file system together in ``root``, with something more at some places, and make it this process's own."""
    _mount("tmpfs", root, "tmpfs", 0)
    missing: dict[str, Any] = {}
    placed = []
    for mount in mounts:
        target = Path(os.path.realpath(mount["target"]))
        placed.append((mount, target))
        if not target.exists():
            inner = missing
            for part in target.parts[1:]:
                inner = inner.setdefault(part, {})
    _copy_view(Path("/"), root, missing)
    for mount, target in sorted(placed, key=lambda each: len(each[1].parts)):
        inside = root / target.relative_to("/")
        if not inside.exists():
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.mkdir() if Path(mount["source"]).is_dir() else inside.touch()
        _mount(mount["source"], inside, "none", _BIND | _RECURSIVE)
        if mount.get("read_only"):
            with contextlib.suppress(OSError):  # a file system with flags of its own, in a user namespace
                _mount("none", inside, "none", _BIND | _REMOUNT | _READ_ONLY)
    os.chroot(root)


def _copy_view(real: Path, view: Path, missing: dict[str, Any]) -> None:
    """Show what is in a folder; of folders in which something is missing, show what is in them."""
    for entry in sorted(real.iterdir()):
        shown = view / entry.name
        if entry.is_symlink():
            shown.symlink_to(entry.readlink())
        elif entry.name in missing and entry.is_dir():
            shown.mkdir(mode=0o755)
            _copy_view(entry, shown, missing[entry.name])
        else:
            with contextlib.suppress(OSError):  # gone meanwhile, or not for this user
                shown.mkdir() if entry.is_dir() else shown.touch()
                _mount(str(entry), shown, "none", _BIND | _RECURSIVE)


def _end_the_rest() -> None:
    """Kill all descendants, which are this process's children once their parents are gone, and wait for them."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while found := children.read_text().split():
        for child in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _run(what: dict[str, Any]) -> int:
    """Run the command to its end, and return its exit code: 128 and the signal's number, if one ended it."""
    try:
        child = subprocess.Popen(what["command"], env=what["env"], cwd=what.get("cwd", "/"), stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"exec: {error}", flush=True)
        return NOT_FOUND
    signal.signal(signal.SIGTERM, lambda *_: _send(child.pid, signal.SIGTERM))
    signal.signal(signal.SIGUSR1, lambda *_: _send(child.pid, signal.SIGKILL))
    while True:
        # the container's first process reaps whatever lost its parent
        gone, status = os.waitpid(-1, 0)
        if gone == child.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def main() -> int:
    what = json.load(sys.stdin)
    _check(_libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGUSR1, 0, 0, 0), "prctl")
    _check(_libc.prctl(_SUBREAPER, 1, 0, 0, 0), "prctl")
    try:
        separate(what["hostname"])
        furnish(Path(what["folder"]), what["mounts"])
    except OSError as error:
        print(f"cannot start: {error}", flush=True)
        return CANNOT_START
    try:
        return _run(what)
    finally:
        _end_the_rest()


if __name__ == "__main__":
    sys.exit(main())
