"""Naming a process for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from jupyter_offload.scheduler import process
from jupyter_offload.scheduler.process import is_alive, process_start


def test_this_process_lives() -> None:
    start = process_start(os.getpid())
    assert start
    assert process_start(os.getpid()) == start
    assert is_alive(os.getpid(), start)


def test_another_start_is_another_process() -> None:
    assert not is_alive(os.getpid(), "1")


@pytest.mark.parametrize("pid", [0, -1, 2**30])
def test_no_such_process(pid: int) -> None:
    assert process_start(pid) is None


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = process_start(child.pid)
    assert start is not None
    assert is_alive(child.pid, start)
    child.kill()
    while is_alive(child.pid, start):
        time.sleep(0.01)
    os.kill(child.pid, 0)  # it is still there, unreaped
    assert child.wait(10) == -9


def test_a_command_name_may_hold_anything(tmp_path: object) -> None:
    code = "open('/proc/self/comm', 'w').write('a) Z (b'); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert (process_start(child.pid) or "").isdigit()
    child.kill()
    child.wait(10)


def test_ps_says_the_same_as_proc() -> None:
    assert process._ps_start(os.getpid())
    assert process._ps_start(os.getpid()) == process._ps_start(os.getpid())
    assert process._ps_start(2**22 + 5) is None
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    while process._ps_start(child.pid) is not None:
        time.sleep(0.01)
    child.wait(10)


def test_silence_of_ps_is_not_death(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("ps", 5)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(OSError, match="did not answer"):
        process._ps_start(os.getpid())
