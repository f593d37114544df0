"""Processes of one world: each with a log, all ended with it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from ..workspace import Workspace


class Processes:
    """Starts processes with the environment of a workspace, and kills them."""

    def __init__(self, place: Workspace) -> None:
        self.place = place
        self._running: list[subprocess.Popen[str]] = []

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None, *, talks: bool = False
    ) -> subprocess.Popen[str]:
        """Start one, with its log in ``<name>.log``; ``talks`` when its stdin and stdout are for us."""
        with (self.place.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env={**self.place.environment, **(environment or {})}, text=True, stderr=log,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL, stdout=subprocess.PIPE if talks else log,
            )  # fmt: skip
        self._running.append(process)
        return process

    def heard(self, process: subprocess.Popen[str], name: str) -> str:
        """Return the next line that a process says.

        Raises:
            RuntimeError: it ended instead; the message has the end of its log.
        """
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"{name} ended: {self.said(name)}")
        return line.strip()

    def said(self, name: str) -> str:
        """Return the end of a log."""
        return (self.place.folder / f"{name}.log").read_text(errors="replace")[-300:]

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill one and wait until it is gone."""
        self._running.remove(process)
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        """Kill all that were started."""
        for process in self._running[::-1]:
            self.kill(process)
