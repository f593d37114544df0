"""Which process is it, and does it live? Standard library only; the keeper uses this module too.

A process id is used again after a while, so a process is named by its id and an opaque start string.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PS_TIMEOUT_S = 5.0


def process_start(pid: int) -> str | None:
    """Return the opaque start string of a living process; None when there is none. A zombie is dead.

    Raises:
        OSError: the system could not be asked, which says nothing about the process.
    """
    if pid <= 0:
        return None
    return _linux_start(pid) if sys.platform == "linux" else _ps_start(pid)


def is_alive(pid: int, start: str) -> bool:
    """Return whether the process that had this id and start string still lives.

    Raises:
        OSError: the system could not be asked.
    """
    return process_start(pid) == start


def _linux_start(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the command in parentheses and may hold anything, so count from its end.
    fields = text[text.rindex(")") + 2 :].split()
    state, ticks = fields[0], fields[19]
    return None if state in ("Z", "X", "x") else ticks


def _ps_start(pid: int) -> str | None:
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_PS_TIMEOUT_S,
            env={"LC_ALL": "C", "TZ": "UTC"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"ps did not answer within {_PS_TIMEOUT_S:g} s") from error
    state, _, start = done.stdout.strip().partition(" ")
    if not start or state.startswith("Z"):
        return None
    return " ".join(start.split())
