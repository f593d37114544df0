"""What every backend must pass. Subclass ``Conformance``, override the fixtures, inherit the tests.

    class TestMine(Conformance):
        @pytest.fixture
        def backend(self): ...

Needs pytest and pytest-asyncio in ``auto`` mode. The tests use a real site: give ``make_context`` clusters that really exist.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

import pytest

from ..api.models import HealthState, WorkerState
from ..api.problems import OffloadError
from ..ports import Backend, Capability, ClusterContext, Handle

MakeContext = Callable[[], Awaitable[ClusterContext]]
PATIENCE_S = 120.0


class Saved:
    """Takes handles as the keeper does, and gives back the cluster with the newest one."""

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        self.handles: list[Handle] = []

    async def __call__(self, handle: Handle) -> None:
        """Save a handle; it must survive JSON."""
        self.handles.append(json.loads(json.dumps(handle)))

    @property
    def context(self) -> ClusterContext:
        """The cluster, as the keeper would hand it over now."""
        handle = self.handles[-1] if self.handles else self._context.handle
        return dataclasses.replace(self._context, handle=handle)


async def connected(backend: Backend, context: ClusterContext) -> list[str]:
    """Return the names of the connected workers."""
    seen = (await backend.observe([context]))[context.id]
    assert seen.visible, "a site that works must be visible"
    return sorted(w.name for w in seen.workers if w.state is WorkerState.connected)


async def until_connected(backend: Backend, context: ClusterContext, number: int) -> list[str]:
    """Wait until exactly ``number`` workers are connected."""
    deadline = time.monotonic() + PATIENCE_S
    while len(names := await connected(backend, context)) != number:
        assert time.monotonic() < deadline, f"{number} workers were asked for, there are {names}"
        await asyncio.sleep(0.05)
    return names


class Conformance(ABC):
    """The promises of ``ports.py`` as tests."""

    @pytest.fixture
    @abstractmethod
    def backend(self) -> Backend:
        """Return the backend under test, on a site that works."""

    @pytest.fixture
    @abstractmethod
    def make_context(self) -> MakeContext:
        """Return a function that makes a cluster with a running scheduler process and no workers."""

    @pytest.fixture
    @abstractmethod
    def unreachable(self) -> Callable[[ClusterContext], ClusterContext]:
        """Return a function that gives the same cluster with the site, or its control line, out of reach."""

    # ------------------------------------------------------------ the site
    async def test_health_capacity_and_check(self, backend: Backend) -> None:
        """A site that works says so; what is free is not more than what there is."""
        assert (await backend.health()).state is HealthState.healthy
        capacity = await backend.capacity()
        for free, total in (
            (capacity.cores_free, capacity.cores_total),
            (capacity.memory_free_bytes, capacity.memory_total_bytes),
        ):
            assert free is None or total is None or 0 <= free <= total
        findings = await backend.check()
        assert findings
        assert all(f.hint for f in findings if f.state != "ok"), "each fault has a remedy"

    async def test_looking_never_blocks_the_loop(self, backend: Backend) -> None:
        """Other work goes on while the site is asked."""
        gaps: list[float] = []

        async def tick() -> None:
            last = time.monotonic()
            while True:
                await asyncio.sleep(0.005)
                gaps.append(time.monotonic() - last)
                last = time.monotonic()

        ticking = asyncio.create_task(tick())
        await asyncio.gather(backend.health(), backend.capacity(), backend.check())
        ticking.cancel()
        assert max(gaps, default=0) < 1, "the loop stood still"

    async def test_preview_has_no_side_effect_and_no_secret(self, backend: Backend, make_context: MakeContext) -> None:
        """It tells the size of a worker, and no value of an environment variable."""
        context = await make_context()
        spec = context.spec.model_copy(update={"env": {"PASSWORD": "hush-hush"}, "workers": 3})
        preview = backend.preview(spec, context.profile, "/usr/bin/python3")
        assert preview.text.strip()
        assert "hush-hush" not in preview.model_dump_json(exclude={"spec"})
        assert str(context.profile.cores) in preview.text
        assert await connected(backend, context) == []

    # ------------------------------------------------------------ workers
    async def test_submit_is_declarative_and_idempotent(self, backend: Backend, make_context: MakeContext) -> None:
        """Two workers, asked for twice, are two; one is then one, and never another one."""
        saved = Saved(await make_context())
        await asyncio.wait_for(backend.submit(saved.context, 2, saved), PATIENCE_S)
        await asyncio.wait_for(backend.submit(saved.context, 2, saved), PATIENCE_S)
        two = await until_connected(backend, saved.context, 2)
        await asyncio.sleep(1)
        assert await connected(backend, saved.context) == two, "asking twice made more"
        await backend.submit(saved.context, 1, saved)
        one = await until_connected(backend, saved.context, 1)
        assert set(one) <= set(two)
        await backend.submit(saved.context, 0, saved)
        await until_connected(backend, saved.context, 0)

    async def test_cancel_leaves_nothing_and_is_idempotent(self, backend: Backend, make_context: MakeContext) -> None:
        """Nothing is left once the site confirms, and again for what is gone; also for what never was."""
        saved = Saved(await make_context())
        assert await self._cancel(backend, saved.context)
        await backend.submit(saved.context, 2, saved)
        await until_connected(backend, saved.context, 2)
        assert await self._cancel(backend, saved.context)
        assert await connected(backend, saved.context) == []
        assert await self._cancel(backend, saved.context)
        assert saved.context.id not in {o.cluster_id for o in await backend.find_owned(saved.context.owner)}

    async def test_cancel_while_workers_start(self, backend: Backend, make_context: MakeContext) -> None:
        """A worker that is just coming is deleted as well."""
        saved = Saved(await make_context())
        await backend.submit(saved.context, 2, saved)
        assert await self._cancel(backend, saved.context)
        await asyncio.sleep(1)
        assert await connected(backend, saved.context) == []

    async def test_one_look_for_all(self, backend: Backend, make_context: MakeContext) -> None:
        """Every cluster has its own workers."""
        first, second = Saved(await make_context()), Saved(await make_context())
        await backend.submit(first.context, 1, first)
        await backend.submit(second.context, 2, second)
        await until_connected(backend, first.context, 1)
        await until_connected(backend, second.context, 2)
        both = await backend.observe([first.context, second.context])
        assert [len(both[s.context.id].workers) for s in (first, second)] == [1, 2]
        assert not await backend.observe([])

    async def test_cannot_see_is_not_gone(
        self, backend: Backend, make_context: MakeContext, unreachable: Callable[[ClusterContext], ClusterContext]
    ) -> None:
        """What could not be asked is left out or invisible, never empty; and the others are seen all the same."""
        hidden, shown = Saved(await make_context()), Saved(await make_context())
        for saved in (hidden, shown):
            await backend.submit(saved.context, 1, saved)
            await until_connected(backend, saved.context, 1)
        async with asyncio.timeout(60):
            seen = await backend.observe([unreachable(hidden.context), shown.context])
        assert hidden.context.id not in seen or not seen[hidden.context.id].visible
        if Capability.local_workers in backend.capabilities:  # elsewhere the whole site is out of reach
            assert seen[shown.context.id].visible
            assert len(seen[shown.context.id].workers) == 1
        assert await connected(backend, hidden.context), "not looking ended nothing"

    async def test_errors_are_for_people(
        self, backend: Backend, make_context: MakeContext, unreachable: Callable[[ClusterContext], ClusterContext]
    ) -> None:
        """What fails because the site is out of reach is transient, so that the loop tries again."""
        saved = Saved(await make_context())
        with pytest.raises(OffloadError) as caught:
            await backend.submit(unreachable(saved.context), 1, saved)
        assert caught.value.transient
        assert caught.value.message

    @staticmethod
    async def _cancel(backend: Backend, context: ClusterContext) -> bool:
        deadline = time.monotonic() + PATIENCE_S
        while (left := await backend.cancel(context)) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return not left
