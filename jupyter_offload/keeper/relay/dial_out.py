"""Credentials of jobs, as a backend gets them (``ports.DialOut``)."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ...api.problems import NotNow, ProblemCode, Unavailable
from ...ports import JobCredentials
from ...relay.certificates import CLOCK_SKEW, issue_job_certificate, job_pattern
from ..store.records import Record
from .settings import RelayUse

SCHEDULER_ADDRESS = "relay://scheduler"
#: Called with cluster, name in the certificate, and when it ends (seconds since the epoch).
Issued = Callable[[str, str, float], Awaitable[None]]
#: Called with cluster and name in the certificate.
Revoke = Callable[[str, str], Awaitable[None]]


class RelayDialOut:
    """Issues and revokes the credentials of one cluster's jobs.

    Args:
        record: the cluster.
        use: its relay.
        issued: notes what is issued.
        revoke: revokes it.
    """

    def __init__(self, record: Record, use: RelayUse, issued: Issued, revoke: Revoke) -> None:
        self._record = record
        self._use = use
        self._issued = issued
        self._revoke = revoke

    async def credentials(self, job: str, valid_s: float) -> JobCredentials:
        """Return new credentials of a job (see ``ports.DialOut``)."""
        expires_at = time.time() + valid_s
        pattern = job_pattern(job)
        try:
            files = await asyncio.to_thread(self._files, job, valid_s)
        except FileNotFoundError as error:
            raise NotNow(
                ProblemCode.not_running, f"Cluster {self._record.name!r} is over, so that no job can join it."
            ) from error
        await self._issued(self._record.id, pattern, expires_at + CLOCK_SKEW.total_seconds())
        use = self._use
        return JobCredentials(
            host=pattern.removesuffix("*"), scheduler_address=SCHEDULER_ADDRESS, files=files, expires_at=expires_at,
            relay={"addresses": use.addresses, "domain": use.domain, "resume": f"{use.resume_s:g}s"},
        )  # fmt: skip

    def _files(self, job: str, valid_s: float) -> dict[str, bytes]:
        folder = Path(self._record.folder)
        pem = issue_job_certificate(folder, job, datetime.timedelta(seconds=valid_s))
        files = {JobCredentials.WORKER: pem, JobCredentials.CA: (folder / "ca.pem").read_bytes()}
        if self._use.ca_file is not None:
            files[JobCredentials.RELAY_CA] = _relay_ca(self._use.ca_file)
        return files

    async def revoke(self, job: str) -> None:
        """Have the relay refuse a job that is over (see ``ports.DialOut``)."""
        await self._revoke(self._record.id, job_pattern(job))


def _relay_ca(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Unavailable(
            ProblemCode.relay_unreachable,
            f"The file {path} with the authority of the relay's certificate cannot be read: {error.strerror}.",
            hint="Put it back, or name another ca_file in relay.yaml.",
        ) from error
