"""A signal to a child that was just forked is the child's alone."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, signal, time
from jupyter_offload.scheduler import become

read, write = os.pipe()
os.set_blocking(read, False)
os.set_blocking(write, False)
signal.set_wakeup_fd(write)
for number in (signal.SIGCHLD, signal.SIGTERM):
    signal.signal(number, lambda *_: None)
statuses = set()
for _ in range(200):
    pid = become.fork(lambda: time.sleep(60) or 0)
    os.kill(pid, signal.SIGTERM)
    statuses.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
told = os.read(read, 1 << 16)
assert signal.SIGTERM not in told, told
assert signal.SIGCHLD in told
assert statuses == {-signal.SIGTERM}, statuses
os.kill(os.getpid(), signal.SIGTERM)
assert signal.SIGTERM in os.read(read, 1 << 16), "the parent must still hear its own"
"""


def test_it_does_not_reach_the_parents_wake_up_descriptor() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
