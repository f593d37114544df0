"""Why a worker did not join its scheduler, or left it, as a sentence with a remedy."""

from __future__ import annotations

import ast
import contextlib
import socket
from collections.abc import Iterator

from .endings import EXIT_CODES, NOT_CONNECTED, RELAY_UNREACHABLE, Ending
from .job import WorkerJob

_PROBE_S = 5.0
_REFUSED = "Unexpected response from register: "  # Dask's worker says so
#: Reasons that Dask's worker gives when nobody wanted it to go.
_LOST = ("worker-handle-scheduler-connection-broken", "worker-heartbeat")
_LOST_SENTENCE = "The worker lost its scheduler: the connection broke and was not there again in time."


def refusal_of(error: BaseException) -> Ending | None:
    """Return what the scheduler said when it turned the worker away; None when it was not asked or took it."""
    for one in _causes(error):
        _, found, text = str(one).partition(_REFUSED)
        if not found:
            continue
        answer: object = None
        with contextlib.suppress(ValueError, SyntaxError):
            answer = ast.literal_eval(text)
        if not isinstance(answer, dict):
            return Ending(NOT_CONNECTED, f"The scheduler turned the worker away: {text}")
        code, message = answer.get("offload_code"), str(answer.get("message", "it did not say why"))
        if code not in EXIT_CODES:
            return Ending(NOT_CONNECTED, f"The scheduler turned the worker away: {message}.")
        return Ending(code, message, answer.get("offload_hint"))
    return None


def why_not_connected(job: WorkerJob, error: BaseException) -> Ending:
    """Return why nothing came of it, after looking whether the relay can be reached from here. Takes some seconds."""
    addresses = _addresses(job)
    problems = [problem for problem in map(_probe, addresses) if problem is not None]
    if addresses and len(problems) == len(addresses):
        return Ending(
            RELAY_UNREACHABLE,
            f"The worker cannot reach the relay from {socket.gethostname()}: {'; '.join(problems)}.",
            f"Jobs must be able to open TCP connections to {', '.join(addresses)}. Ask the site's administrator.",
        )
    last = f" The last it heard: {last_heard(error).rstrip('.')}."
    relay = f"The relay answers, but the worker did not join {job.scheduler_address}" if addresses else (
        f"The worker did not join {job.scheduler_address}"
    )  # fmt: skip
    return Ending(
        NOT_CONNECTED, f"{relay} within {job.death_timeout_s:g} s.{last}",
        "See whether the cluster still runs, and whether its card names a problem of the relay.",
    )  # fmt: skip


def last_heard(error: BaseException) -> str:
    """Return what says most of why a nanny did not start: Dask wraps it."""
    causes = [one for one in _causes(error) if str(one)]
    plain = [str(one) for one in causes if not isinstance(one, RuntimeError)]
    return (plain or [str(one) for one in causes] or [type(error).__name__])[0]


def lost(reason: str) -> str:
    """Return a sentence when Dask's worker closed for a reason that nobody wanted, else nothing."""
    return _LOST_SENTENCE if reason.startswith(_LOST) else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _addresses(job: WorkerJob) -> list[str]:
    addresses = job.dask_config.get("relay", {}).get("addresses") or []
    return [addresses] if isinstance(addresses, str) else list(addresses)


def _probe(address: str) -> str | None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PROBE_S):
            return None
    except (OSError, ValueError) as error:
        return f"{address}: {error or type(error).__name__}"
