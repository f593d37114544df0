"""Network namespaces (Linux, root)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator

_LIMIT_S = 20
_CLONE_NEWNET = 0x40000000


def command(*words: str) -> str:
    """Run a program and return what it printed.

    Raises:
        RuntimeError: it failed or is not there; the message has what it said.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except FileNotFoundError as error:
        raise RuntimeError(f"{words[0]} is not installed") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


class Namespace:
    """One network namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        command("ip", "netns", "add", name)
        self.ip("link", "set", "dev", "lo", "up")

    def ip(self, *words: str) -> None:
        """Run ``ip`` for this namespace."""
        command("ip", "-n", self.name, *words)

    def inside(self, *words: str) -> list[str]:
        """Return the command line that runs a program in here, as the process that is started."""
        return ["ip", "netns", "exec", self.name, *words]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put this thread in here; threads that it starts meanwhile stay here."""
        before = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(self.name)
            yield
        finally:
            _set(before)
            os.close(before)

    def remove(self) -> None:
        """Remove it. It goes once no process is in it."""
        command("ip", "netns", "delete", self.name)


def enter(name: str) -> None:
    """Put this thread into a namespace.

    Raises:
        OSError: it is not there, or this process may not.
    """
    there = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set(there)
    finally:
        os.close(there)


def _set(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")
