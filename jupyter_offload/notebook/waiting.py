"""What a person sees while a call waits: one line that keeps up, in the notebook or on a terminal."""

from __future__ import annotations

import sys
from typing import Any

from ..api import text
from ..api.models import Cluster
from . import html

#: Nothing is shown for waits shorter than this.
QUIET_S = 0.5


class Progress:
    """Shows the phase, the reason and the seconds so far; leaves nothing behind on a terminal, one line in a notebook."""

    def __init__(self) -> None:
        self._display: Any = None
        self._width = 0

    def __call__(self, cluster: Cluster, elapsed_s: float) -> None:
        """Show this record; called on the bridge's thread at least once a second."""
        if elapsed_s < QUIET_S:
            return
        line = text.progress(cluster, elapsed_s)
        if in_notebook():
            self._notebook(line)
        elif sys.stderr.isatty():
            padded = line.ljust(self._width)
            self._width = len(line)
            print(f"\r{padded}", end="", file=sys.stderr, flush=True)

    def _notebook(self, line: str) -> None:
        import IPython.display

        shown: Any = IPython.display
        content = shown.HTML(html.status_line(line))
        if self._display is None:
            self._display = shown.display(content, display_id=True)
        else:
            self._display.update(content)

    def done(self, cluster: Cluster | None) -> None:
        """End the display, with the state that was reached if anything was shown."""
        if self._display is not None and cluster is not None:
            self._notebook(f"{cluster.name}: {cluster.phase.value}, {text.workers(cluster)} workers.")
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=sys.stderr, flush=True)


def in_notebook() -> bool:
    """Tell whether this process is a Jupyter kernel."""
    shell = sys.modules.get("IPython")
    return shell is not None and hasattr(shell.get_ipython(), "kernel")


def say_interrupted(name: str) -> None:
    """Tell somebody who pressed Ctrl-C what became of their cluster."""
    print(
        f"\nYou stopped waiting; cluster {name!r} goes on starting.\n"
        f'  take it up:  cluster = offload.cluster("{name}")\n'
        f'  end it:      offload.cluster("{name}").close()',
        file=sys.stderr,
    )
