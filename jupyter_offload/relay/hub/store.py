"""Leases on disk: one private file for each cluster, replaced as a whole, so that a relay that was killed comes back with them."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..names import is_fingerprint
from .events import Events

_SUFFIX = ".json"
_VERSION = 1
#: Half-written files older than this were left by a relay that was killed.
_PART_OLD_S = 60
#: For so long it can be read that a lease ended.
_ENDED_KEPT_S = 60


@dataclass(frozen=True)
class StoredLease:
    """A lease; times are seconds since the epoch, since monotonic ones mean nothing to the next process.

    ``confirmed_until`` is when it would have ended if the identity had not been taken for granted during an outage;
    ``ended`` that it was withdrawn.
    """

    cluster: str
    identity: str
    ca_pem: str
    lease_s: float
    expires_at: float
    confirmed_until: float
    revoked: tuple[str, ...] = ()
    ended: bool = False


@dataclass(frozen=True)
class _Seen:
    """A file as it was last read or written."""

    stamp: tuple[int, int, int]
    expires_at: float


class LeaseStore:
    """The folder ``leases`` below the relay's state. Blocking, for one thread at a time.

    Relays that share the folder admit the same clusters: each reads what the others wrote.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """

    def __init__(self, state_dir: Path, events: Events) -> None:
        self._events = events
        self._seen: dict[str, _Seen] = {}
        self.folder = state_dir / "leases"
        for folder in (state_dir, self.folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.folder.stat().st_uid != os.geteuid():
            raise PermissionError(f"{self.folder} belongs to another user")
        self.folder.chmod(0o700)

    def changes(self) -> list[StoredLease]:
        """Return the leases that others wrote since the last time, also those that are over by now.

        Files of leases that are over are swept; one that cannot be understood is set aside and named in the log.

        Raises:
            OSError: the folder cannot be read.
        """
        now = time.time()
        changed = []
        for path in sorted(self.folder.iterdir()):
            with contextlib.suppress(FileNotFoundError):  # another relay on the same folder swept it
                stamp = _stamp(path)
                if path.name.startswith("."):
                    if now - path.lstat().st_mtime > _PART_OLD_S:
                        path.unlink()
                elif path.suffix == _SUFFIX and is_fingerprint(path.stem):
                    lease = self._look(path, stamp, now)
                    changed += [lease] if lease is not None else []
        return changed

    def _look(self, path: Path, stamp: tuple[int, int, int], now: float) -> StoredLease | None:
        """Return the lease in a file that changed."""
        seen = self._seen.get(path.stem)
        lease = None
        if seen is None or seen.stamp != stamp:
            lease = self._read(path)
            if lease is None:
                return None
            seen = self._seen[path.stem] = _Seen(stamp, lease.expires_at)
        if seen.expires_at < now - _ENDED_KEPT_S:
            path.unlink()
            del self._seen[path.stem]
        return lease

    def save(self, lease: StoredLease) -> None:
        """Write a lease in place of the one before.

        Raises:
            OSError: the disk is full or gone; then the one before is still there.
        """
        content = json.dumps({"version": _VERSION, **asdict(lease)}, indent=1)
        descriptor, name = tempfile.mkstemp(prefix=".", dir=self.folder)  # mode 0600
        part = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            self._seen[lease.cluster] = _Seen(_stamp(part), lease.expires_at)
            part.replace(self.folder / f"{lease.cluster}{_SUFFIX}")
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def end(self, lease: StoredLease) -> None:
        """Write that a lease is over, for others who share the folder; it is swept later.

        Raises:
            OSError: neither that nor to remove it is possible.
        """
        try:
            self.save(replace(lease, expires_at=min(lease.expires_at, time.time()), ended=True))
        except OSError:  # a full disk has room for nothing new
            (self.folder / f"{lease.cluster}{_SUFFIX}").unlink(missing_ok=True)

    def _read(self, path: Path) -> StoredLease | None:
        try:
            return _parse(json.loads(path.read_text(encoding="utf-8")), path.stem)
        except FileNotFoundError:  # swept just now
            raise
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            self._events.log("lease-corrupt", file=str(path), reason=str(error) or type(error).__name__)
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(f".corrupt-{int(time.time())}"))
            return None


def _parse(said: Any, cluster: str) -> StoredLease:
    if not isinstance(said, dict) or said.pop("version", None) != _VERSION:
        raise ValueError("not a lease of this version of the relay")
    lease = StoredLease(
        str(said["cluster"]), str(said["identity"]), str(said["ca_pem"]), float(said["lease_s"]),
        float(said["expires_at"]), float(said["confirmed_until"]), tuple(map(str, said["revoked"])),
        bool(said["ended"]),
    )  # fmt: skip
    if lease.cluster != cluster:
        raise ValueError(f"it is of the cluster {lease.cluster}")
    return lease


def _stamp(path: Path) -> tuple[int, int, int]:
    seen = path.lstat()
    return seen.st_mtime_ns, seen.st_ino, seen.st_size
