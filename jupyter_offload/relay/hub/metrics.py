"""Numbers for Prometheus, on a door of their own: by cluster and in total, never a payload, no name of a user."""

from __future__ import annotations

import asyncio
import hmac
import math
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tornado.web import Application, RequestHandler

from .counters import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Answers:
    """Counts answers of the relay's own HTTP."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()

    def count(self, request: str, status: int) -> None:
        """Count one."""
        self._answers[request, status] += 1

    def samples(self) -> Iterator[Sample]:
        """Yield the numbers."""
        for (request, status), number in sorted(self._answers.items()):
            yield Sample("offload_relay_requests_total", "counter", "Answers of the relay's own HTTP.", number,
                         {"request": request, "status": str(status)})  # fmt: skip


def process_samples() -> Iterator[Sample]:
    """Yield what this process takes."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield Sample("process_cpu_seconds_total", "counter", "CPU time of the relay.", used.ru_utime + used.ru_stime)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        size = pages * os.sysconf("SC_PAGE_SIZE")
        yield Sample("process_resident_memory_bytes", "gauge", "Memory of the relay.", size)
        yield Sample(
            "process_open_fds", "gauge", "Open file descriptors.", sum(1 for _ in Path("/proc/self/fd").iterdir())
        )
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield Sample("process_max_fds", "gauge", "Most file descriptors that may be open.", most)


def exposition(samples: Iterable[Sample]) -> str:
    """Return numbers as Prometheus reads them."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        families.setdefault(sample.name, []).append(sample)
    lines = []
    for name, family in families.items():
        lines += [f"# HELP {name} {family[0].text}", f"# TYPE {name} {family[0].kind}"]
        lines += [f"{name}{_labels(sample)} {_number(sample.value)}" for sample in family]
    return "\n".join(lines) + "\n"


def application(samples: Callable[[], Iterable[Sample]], token_file: Path | None) -> Application:
    """Return the application; with a token file, whoever asks must have the token that is in it then."""
    return Application(
        [(r"/metrics", _Metrics, {"samples": samples, "token_file": token_file})], log_function=lambda _: None
    )


class _Metrics(RequestHandler):
    def initialize(self, samples: Callable[[], Iterable[Sample]], token_file: Path | None) -> None:
        self._samples = samples
        self._token_file = token_file

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    async def get(self) -> None:
        if self._token_file is not None and not await asyncio.to_thread(self._may_read, self._token_file):
            self.set_status(401)
            self.set_header("WWW-Authenticate", "Bearer")
            self.finish("a token is needed\n")
            return
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(exposition(self._samples()))

    def _may_read(self, token_file: Path) -> bool:
        try:
            wanted = token_file.read_bytes().strip()
        except OSError:
            return False
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        said: Any = token.strip().encode("utf-8", "surrogateescape")
        return bool(wanted) and scheme.lower() == "bearer" and hmac.compare_digest(said, wanted)


def _labels(sample: Sample) -> str:
    if not sample.labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(float(value))
