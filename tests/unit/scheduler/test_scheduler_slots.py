"""What happens to a worker that died: the table."""

from __future__ import annotations

import pytest

from jupyter_offload.scheduler.slots import START_ATTEMPTS, Cause, Slot, how_it_ended


def test_deaths_at_the_start_back_off_and_end() -> None:
    slot = Slot("w0")
    delays = []
    for pid in range(1, START_ATTEMPTS + 1):
        slot.started(pid)
        delays.append(slot.died(now=100.0))
    assert delays == [0.5, 1, 2, None]
    assert slot.failed
    assert slot.start_at is None or slot.pid is None


def test_connecting_once_forgives_earlier_deaths() -> None:
    slot = Slot("w0")
    slot.started(1)
    assert slot.died(now=0) == 0.5
    slot.started(2)
    slot.connected(now=1)
    assert slot.died(now=100) == 0
    slot.started(3)
    assert slot.died(now=100) == 0.5
    assert not slot.failed


def test_deaths_soon_after_connecting_back_off_but_never_end() -> None:
    slot, delays = Slot("w0"), []
    for pid in range(1, 12):
        slot.started(pid)
        slot.connected(now=pid)
        delays.append(slot.died(now=pid + 1))
    assert delays[:5] == [0, 0.5, 1, 2, 4]
    assert delays[-1] == 30
    assert slot.restarts == 11
    assert not slot.failed


def test_a_restart_that_a_client_asked_for_is_no_fault() -> None:
    slot = Slot("w0")
    for pid in range(1, 20):
        slot.started(pid)
        slot.cause = Cause.client_restart
        assert slot.died(now=1) == 0
        assert slot.start_at == 1
    assert (slot.restarts, slot.failed) == (0, False)


def test_who_is_not_wanted_does_not_come_back() -> None:
    slot = Slot("w0")
    slot.started(1)
    slot.wanted = False
    assert slot.died(now=1) is None
    assert not slot.failed
    assert slot.start_at is None


def test_a_new_process_starts_without_the_marks_of_the_last() -> None:
    slot = Slot("w0")
    slot.started(1)
    slot.cause, slot.kill_at, slot.killed = Cause.over_memory, 5.0, True
    slot.connected(now=1)
    slot.died(now=2)
    slot.started(2)
    assert (slot.cause, slot.kill_at, slot.killed, slot.connected_at, slot.start_at) == (None, None, False, None, None)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit status 0"),
        (77, "exit status 77"),
        (-9, "signal 9 (SIGKILL)"),
        (-11, "signal 11 (SIGSEGV)"),
        (-99, "unknown"),
    ],
)
def test_ends_in_words(status: int, words: str) -> None:
    assert words in how_it_ended(status)
