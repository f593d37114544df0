"""Where results, progress and errors go: results to stdout, everything else to stderr."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ..api import asking, text
from ..api.models import Cluster, FieldProblem, Model
from ..api.problems import OffloadError
from ..api.units import format_duration

#: Nothing is said about what takes less.
QUIET_S = 1.0


class Output:
    """One command's output. With ``as_json`` stdout is the API's models and stderr at most one problem document."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._width = 0
        self._said: tuple[str, ...] | None = None
        self._waiting = False

    # ------------------------------------------------------------ results
    def table(self, heading: Sequence[str], rows: Sequence[Sequence[str]], *, if_empty: str) -> None:
        """Print aligned columns, or a sentence where there is nothing."""
        self.line(text.columns([heading, *rows]) if rows else if_empty)

    def line(self, content: str = "") -> None:
        """Print text for a person."""
        self.end_progress()
        print(content, flush=True)

    def raw(self, content: str) -> None:
        """Print text as it is."""
        self.end_progress()
        sys.stdout.write(content)
        sys.stdout.flush()

    def model(self, value: Model | Mapping[str, Any], *, one_line: bool = False) -> None:
        """Print JSON."""
        data = value.model_dump(mode="json") if isinstance(value, Model) else value
        print(json.dumps(data, indent=None if one_line else 2), flush=True)

    # ------------------------------------------------------------ progress
    @asynccontextmanager
    async def working(self, what: str) -> AsyncIterator[None]:
        """Say what is going on as soon as it takes longer than a second, unless something better is said meanwhile."""
        task = asyncio.create_task(self._tick(what))
        try:
            yield
        finally:
            task.cancel()

    async def _tick(self, what: str) -> None:
        elapsed_s = 0.0
        while True:
            await asyncio.sleep(QUIET_S)
            elapsed_s += QUIET_S
            if not self._waiting:
                self._show(f"{what}, {format_duration(elapsed_s)}", (what,))

    def progress(self, cluster: Cluster, elapsed_s: float) -> None:
        """Show how far a cluster is."""
        self._waiting = True
        if elapsed_s >= QUIET_S or self._said:
            counts = (str(cluster.workers.connected), str(cluster.workers.requested))
            self._show(text.progress(cluster, elapsed_s), (cluster.id, cluster.phase, cluster.reason.message, *counts))

    def _show(self, line: str, state: tuple[str, ...]) -> None:
        if self.as_json:
            return
        if sys.stderr.isatty():
            print(f"\r{line.ljust(self._width)}", end="", file=sys.stderr, flush=True)
            self._width = len(line)
        elif state != self._said:
            print(line, file=sys.stderr, flush=True)
        self._said = state

    def end_progress(self) -> None:
        """Take the progress line away, so that what follows starts on a clean line."""
        self._waiting = True
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=sys.stderr, flush=True)
            self._width = 0

    # ------------------------------------------------------------ errors
    def note(self, content: str) -> None:
        """Say something besides the result."""
        if not self.as_json:
            self.end_progress()
            print(content, file=sys.stderr, flush=True)

    def error(self, error: OffloadError) -> None:
        """Say what is wrong and what to do about it."""
        self.end_progress()
        if self.as_json:
            print(error.document().model_dump_json(), file=sys.stderr)
            return
        print("\n".join(_error_lines(error)), file=sys.stderr)


def _error_lines(error: OffloadError) -> list[str]:
    if len(error.errors) < 2:
        return [f"Error: {error.message}", *([f"  {error.hint}"] if error.hint else [])]
    first = error.errors[0].message.rstrip(".")
    headline = f"{len(error.errors)} mistakes:" if first in error.message else error.message
    return [f"Error: {headline}", *(f"  {_mistake(problem)}" for problem in error.errors)]


def _mistake(problem: FieldProblem) -> str:
    """Return ``field: message hint``, each of them once and ended as a sentence."""
    field = asking.spoken(problem.field)
    message = text.one_line(problem.message)
    for name in (problem.field, field):
        message = message.removeprefix(f"{name}: ")
    sentence = message if message.endswith((".", "!", "?", ":")) else f"{message}."
    return " ".join(filter(None, (f"{field}: {sentence}", problem.hint)))
