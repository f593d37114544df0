"""What the doctor looks at on this host: folders, disk, clock, loopback, TLS, the keeper's own log. Blocking."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import ssl
import stat
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil

from ..api import locations
from ..api.models import Finding
from ..api.start import ends_with_server
from ..api.units import format_bytes, format_duration
from ..relay.certificates import make_cluster_certificates

#: Paths of sockets hold 104 bytes on macOS and 108 on Linux, with the closing zero.
LONGEST_SOCKET_PATH = 103
#: Longest name that is put beside the keeper's socket.
_ROOM_FOR_CLUSTERS = 30
DISK_LOW_BYTES = 2**30
DISK_FULL_BYTES = 100 * 2**20
#: Certificates are valid from an hour ago; what runs further behind refuses them.
CLOCK_SKEW_S = 60
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "afs", "cephfs", "ceph", "lustre", "gpfs", "beegfs", "fuse.sshfs", "9p"}
_LOG_AGE_S = 86400.0
_LOG_LINES = 5000
_LOG_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ \d+ (?:ERROR|CRITICAL) (.*)")


def _ok(check: str, message: str) -> Finding:
    return Finding(check=check, state="ok", message=message)


def data_folder() -> Iterator[Finding]:
    """Records, keys and logs: written by their owner, read by nobody else."""
    check, folder = "data-folder", locations.data_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = folder.stat()
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(b"x" * 4096)
            trial.flush()
            os.fsync(trial.fileno())
            try:
                fcntl.lockf(trial, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                hint = "Set JUPYTER_DATA_DIR to a folder on a file system with locks, such as a local disk."
                message = f"{folder} cannot be locked ({error.strerror}), so the records are not safe there."
                yield Finding(check=check, state="error", message=message, hint=hint)
    except OSError as error:
        hint = f"Make room and make it writable: chmod u+rwx {folder}; or set JUPYTER_DATA_DIR to another folder."
        message = f"{folder} cannot be written: {error.strerror}."
        yield Finding(check=check, state="error", message=message, hint=hint)
        return
    if seen.st_uid != os.getuid():
        message = f"{folder} belongs to another user (uid {seen.st_uid})."
        hint = f"Take it over: chown -R {os.getuid()} {folder}; or set JUPYTER_DATA_DIR to a folder of your own."
        yield Finding(check=check, state="error", message=message, hint=hint)
    elif stat.S_IMODE(seen.st_mode) & 0o077:
        message = f"{folder} is open to others (mode {stat.S_IMODE(seen.st_mode):04o}); it holds keys and logs."
        yield Finding(check=check, state="error", message=message, hint=f"Close it: chmod 700 {folder}")
    else:
        yield _ok(check, f"{folder} is writable and private.")


def disk_space() -> Iterator[Finding]:
    """Room for records and logs, and for the data that workers spill."""
    places = {
        "for records and logs": locations.data_folder(),
        "for data that workers spill": Path(tempfile.gettempdir()),
    }
    for purpose, folder in places.items():
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        message = f"{format_bytes(free)} are free {purpose} in {folder}."
        hint = f"Make room there; see what is large: du -xsh {folder}/* | sort -h"
        if free < DISK_FULL_BYTES:
            yield Finding(check="disk-space", state="error", message=message, hint=hint)
        elif free < DISK_LOW_BYTES:
            yield Finding(check="disk-space", state="warning", message=message, hint=hint)
        else:
            yield _ok("disk-space", message)


def runtime_folder() -> Iterator[Finding]:
    """Sockets: in a private folder, on this host's own file system, with short paths."""
    check, folder = (
        "runtime-folder",
        locations.runtime_folder(),
    )  # raises Broken with the remedy where it is not private
    length = len(os.fsencode(folder)) + 1 + _ROOM_FOR_CLUSTERS
    kind = _file_system(folder)
    if length > LONGEST_SOCKET_PATH:
        message = f"The path {folder} is too long for sockets in it."
        yield Finding(
            check=check, state="error", message=message, hint="Set XDG_RUNTIME_DIR to a short private folder."
        )
    elif kind in _NETWORK:
        message = f"{folder} is on a network file system ({kind}); its sockets are dead files on other hosts."
        hint = "Set XDG_RUNTIME_DIR or TMPDIR to a folder on a disk of this host."
        yield Finding(check=check, state="warning", message=message, hint=hint)
    else:
        yield _ok(check, f"{folder} is private, and short enough for sockets.")


def _file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on, empty if it cannot be told."""
    best, kind = "", ""
    for mount in psutil.disk_partitions(all=True):
        inside = folder.is_relative_to(mount.mountpoint)
        if inside and len(mount.mountpoint) >= len(best):
            best, kind = mount.mountpoint, mount.fstype
    return kind


def clock() -> Iterator[Finding]:
    """This host's clock against that of the file system, which may be another host's."""
    folder = locations.data_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder) as trial:
        before = time.time()
        trial.write(b"x")
        trial.flush()
        os.fsync(trial.fileno())
        behind = Path(trial.name).stat().st_mtime - before
    if abs(behind) > CLOCK_SKEW_S:
        message = (
            f"The clocks of this host and of the file system of {folder} differ by {format_duration(abs(behind))}."
        )
        hint = "Have both synchronised (chrony or NTP): certificates and time limits go by the clock."
        yield Finding(check="clock", state="warning", message=message, hint=hint)
    else:
        yield _ok("clock", "This host and its file system agree on the time.")


def loopback() -> Iterator[Finding]:
    """Schedulers listen on 127.0.0.1, and clients of this host connect there."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 5):
            pass
    except OSError as error:
        message = f"Nothing can be reached on 127.0.0.1: {error}."
        hint = "Bring the interface up (ip link set lo up), and let the firewall pass loopback traffic."
        yield Finding(check="loopback", state="error", message=message, hint=hint)
        return
    yield _ok("loopback", "127.0.0.1 can be reached.")


def tls() -> Iterator[Finding]:
    """Certificates can be made, and this Python's OpenSSL takes them."""
    with tempfile.TemporaryDirectory(prefix="offload-doctor-") as folder:
        try:
            files = make_cluster_certificates(Path(folder) / "tls", "doctor")
            context = ssl.create_default_context(cafile=str(files.ca_file))
            context.load_cert_chain(files.scheduler_file)
        except (ssl.SSLError, ValueError) as error:
            message = f"{ssl.OPENSSL_VERSION} does not take the certificates of a cluster: {error}"
            hint = "Update OpenSSL and the package cryptography."
            yield Finding(check="tls", state="error", message=message, hint=hint)
            return
    if ssl.OPENSSL_VERSION_INFO < (1, 1, 1):
        message = f"{ssl.OPENSSL_VERSION} is too old for Dask's TLS."
        yield Finding(
            check="tls", state="error", message=message, hint="Use a Python built with OpenSSL 1.1.1 or newer."
        )
    else:
        yield _ok("tls", f"{ssl.OPENSSL_VERSION} takes the certificates of a cluster.")


def hub() -> Iterator[Finding]:
    """Whether clusters outlive the Jupyter server."""
    if ends_with_server():
        message = (
            "The Hub ends clusters together with the Jupyter server (they run in the same pod, container or unit)."
        )
        hint = "Save results before you stop the server. If this is wrong, set JUPYTER_OFFLOAD_ENDS_WITH_SERVER=0."
        yield Finding(check="hub", state="warning", message=message, hint=hint)
    else:
        yield _ok("hub", "Clusters outlive the Jupyter server.")


def keeper_log() -> Iterator[Finding]:
    """Errors that the keeper wrote of late."""
    check, path = "keeper-log", locations.keeper_log_path()
    try:
        with path.open(errors="replace") as lines:
            last = deque(lines, _LOG_LINES)
    except FileNotFoundError:
        yield _ok(check, "The keeper has written no log yet.")
        return
    errors = [m for m in map(_LOG_LINE.match, last) if m and _age_s(m[1]) < _LOG_AGE_S]
    if not errors:
        yield _ok(check, f"No errors in {path} during the last day.")
        return
    message = f"{len(errors)} errors in {path} during the last day; the last: {errors[-1][1]} {errors[-1][2][:300]}"
    yield Finding(check=check, state="warning", message=message, hint=f"Read what led to them: less {path}")


def _age_s(stamp: str) -> float:
    return (datetime.now() - datetime.fromisoformat(stamp)).total_seconds()  # the log has local times
