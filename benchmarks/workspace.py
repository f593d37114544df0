"""A world of its own for each measurement: data, config, runtime and sockets apart from the user's, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")
#: As it was at the start: the nannies of a LocalCluster write allocator settings into this process's environment, and
#: every process started later would run with them.
PRISTINE = dict(os.environ)


def until(look: Callable[[], T], limit_s: float = 60, step_s: float = 0.002) -> T:
    """Return the first true answer of ``look``.

    Raises:
        TimeoutError: there was none within ``limit_s`` seconds.
    """
    end = time.monotonic() + limit_s
    while not (answer := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"nothing within {limit_s:g} s")
        time.sleep(step_s)
    return answer


@dataclass(frozen=True)
class Workspace:
    """Folders and environment of one world of Jupyter and keeper."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of the start with every place of Jupyter's and ours moved into the folder."""
        root = Path(__file__).resolve().parent.parent
        return {
            **PRISTINE,
            "JUPYTER_DATA_DIR": str(self.folder / "data"),
            "JUPYTER_CONFIG_DIR": str(self.folder / "config"),
            "JUPYTER_RUNTIME_DIR": str(self.folder / "runtime"),
            "XDG_RUNTIME_DIR": str(self.folder / "x"),
            "IPYTHONDIR": str(self.folder / "ipython"),
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(root), str(self.folder / "python"), PRISTINE.get("PYTHONPATH")])
            ),
        }

    def processes(self) -> list[psutil.Process]:
        """Return every process that was started for this world, told by its environment."""
        mark, found = str(self.folder / "data"), []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get("JUPYTER_DATA_DIR") == mark:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        """End what still runs here, by process id."""
        for ask in (psutil.Process.terminate, psutil.Process.kill):
            left = self.processes()
            for process in left:
                try:
                    ask(process)
                except psutil.Error:
                    continue
            psutil.wait_procs(left, timeout=10)


@contextmanager
def workspace() -> Iterator[Workspace]:
    """Yield a new world and remove it with all its processes. Its path is short: it holds sockets."""
    place = Workspace(Path(tempfile.mkdtemp(prefix="jo", dir="/tmp")))
    try:
        for name in ("data", "config", "runtime", "x", "root", "python"):
            (place.folder / name).mkdir(mode=0o700)
        yield place
    finally:
        place.end()
        shutil.rmtree(place.folder, ignore_errors=True)


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Give this process, and those it starts meanwhile, exactly this environment.

    With that of a ``Workspace``, ``KeeperClient`` finds the keeper of its world.
    """
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
