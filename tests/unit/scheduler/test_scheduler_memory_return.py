"""When a worker gives free memory back to the system."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jupyter_offload.scheduler import memory_return
from jupyter_offload.scheduler.memory_return import MemoryReturn


async def test_once_after_work_however_short(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []
    monkeypatch.setattr(memory_return.malloc, "trim", lambda: trims.append(1) or True)
    state = SimpleNamespace(executing=set(), ready=set(), executed_count=0)
    returning = MemoryReturn(SimpleNamespace(state=state), 1 << 40)
    await returning.look()
    assert not trims, "it has done nothing yet"
    state.executed_count = 1  # came and went between two looks
    await returning.look()
    await returning.look()
    assert len(trims) == 1
    state.executing, state.executed_count = {"a"}, 2
    await returning.look()
    assert len(trims) == 1, "it works, and is far from full"
    state.executing = set()
    await returning.look()
    assert len(trims) == 2
