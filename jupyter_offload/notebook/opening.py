"""Make a cluster, or take up one that is there; list the sites."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any, Literal, overload

from ..api import asking, models
from ..api.problems import BadInput, Conflict, ProblemCode
from . import bridge
from .handles import AsyncCluster, Cluster
from .operations import Operations
from .results import Sites
from .surroundings import notebook_name, this_environment
from .waiting import say_interrupted

START_TIMEOUT = "10 min"
_NONE = "There are none; make one with offload.new_cluster()."


class Opening:
    """A cluster on its way, for asyncio: ``await`` it, or enter it with ``async with``."""

    def __init__(self, open_: Callable[[], Coroutine[Any, Any, AsyncCluster]]) -> None:
        self._open = open_
        self._cluster: AsyncCluster | None = None

    def __await__(self) -> Generator[Any, None, AsyncCluster]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncCluster:
        self._cluster = await self._open()
        return self._cluster

    async def __aexit__(self, *error: object) -> None:
        if self._cluster is not None:
            await self._cluster.__aexit__(*error)


def sites() -> Sites:
    """Return all sites with their health and profiles, usable or not.

    Raises:
        Unavailable: no keeper could be started.
    """

    async def ask() -> models.SiteList:
        return await bridge.keeper().call("listSites", models.SiteList)

    return Sites(bridge.run(ask()).sites)


@overload
def new_cluster(
    name: str | None = ...,
    *,
    site: str = ...,
    workers: int | None = ...,
    profile: str | None = ...,
    adaptive: tuple[int, int] | None = ...,
    cores: int | None = ...,
    memory: str | int | None = ...,
    environment: str | None = ...,
    image: str | None = ...,
    idle_timeout: str | float | None = ...,
    lifetime: str | float | None = ...,
    env: Mapping[str, str] | None = ...,
    modules: Sequence[str] = ...,
    wait: bool = ...,
    timeout: str | float | None = ...,
    asynchronous: Literal[False] = ...,
) -> Cluster: ...
@overload
def new_cluster(
    name: str | None = ...,
    *,
    site: str = ...,
    workers: int | None = ...,
    profile: str | None = ...,
    adaptive: tuple[int, int] | None = ...,
    cores: int | None = ...,
    memory: str | int | None = ...,
    environment: str | None = ...,
    image: str | None = ...,
    idle_timeout: str | float | None = ...,
    lifetime: str | float | None = ...,
    env: Mapping[str, str] | None = ...,
    modules: Sequence[str] = ...,
    wait: bool = ...,
    timeout: str | float | None = ...,
    asynchronous: Literal[True],
) -> Opening: ...
def new_cluster(
    name: str | None = None,
    *,
    site: str = "local",
    workers: int | None = None,
    profile: str | None = None,
    adaptive: tuple[int, int] | None = None,
    cores: int | None = None,
    memory: str | int | None = None,
    environment: str | None = None,
    image: str | None = None,
    idle_timeout: str | float | None = None,
    lifetime: str | float | None = None,
    env: Mapping[str, str] | None = None,
    modules: Sequence[str] = (),
    wait: bool = True,
    timeout: str | float | None = START_TIMEOUT,
    asynchronous: bool = False,
) -> Cluster | Opening:
    """Make a cluster, which goes on when this Python ends, and wait until it can be used.

    Args:
        name: letters, digits, ``.``, ``_`` and ``-``; None = the notebook's name, or the next free ``cluster-N``.
        site: where the workers run; see ``sites()``.
        workers: how many; None = 2, or the minimum when adaptive.
        profile: worker size; None = the site's default.
        adaptive: smallest and largest number of workers, which then follows the work.
        cores: threads of one worker; None = the profile's.
        memory: of one worker, such as ``4 GiB``, or bytes; None = the profile's.
        environment: kernelspec name or path of a Python; None = this Python.
        image: what the workers run at a site that has images; None = the site's first.
        idle_timeout: end after so long without work: seconds, or text such as ``1 h``; 0 = never; None = the profile's.
        lifetime: end so long after creation; 0 = no end; None = the profile's.
        env: environment variables of scheduler and workers.
        modules: imported by scheduler and workers when they start.
        wait: wait until a client can connect and the first worker is there; shows why it takes long.
        timeout: of this waiting, seconds or text; None = no limit. The cluster goes on starting afterwards.
        asynchronous: return something to await or to enter with ``async with``.

    Raises:
        BadInput: a value is wrong; the error names the field and the remedy.
        NotNow: the cluster failed to start; the message says why.
        Unavailable: not usable within ``timeout``, or no keeper could be started.
    """
    timeout_s = asking.seconds(timeout, "timeout")
    values = {
        "name": name, "site": site, "workers": workers, "profile": profile, "adaptive": _range(adaptive),
        "cores": cores, "memory_bytes": memory, "environment": environment, "image": image, "idle_timeout_s": idle_timeout,
        "lifetime_s": lifetime, "env": None if env is None else dict(env), "modules": list(modules) or None,
    }  # fmt: skip
    given = {field: value for field, value in values.items() if value is not None}

    if asynchronous:

        async def open_async() -> AsyncCluster:
            handle = AsyncCluster(await bridge.awaited(_create(given)), created=True)
            if wait:
                await _wait_async(handle._operations, timeout_s)
            return handle

        return Opening(open_async)
    handle = Cluster(bridge.run(_create(given)), created=True)
    if wait:
        _wait(handle._operations, timeout_s)
    return handle


def _range(adaptive: object) -> object:
    if isinstance(adaptive, (tuple, list)) and len(adaptive) == 2:
        return {"minimum": adaptive[0], "maximum": adaptive[1]}
    if adaptive is None:
        return None
    raise BadInput(
        ProblemCode.invalid, f"adaptive: {adaptive!r} is no range of workers.", field="adaptive",
        hint="Write the smallest and the largest number, for example (0, 10).",
    )  # fmt: skip


def _wait(operations: Operations, timeout_s: float | None) -> None:
    try:
        bridge.run(operations.wait_for_start(timeout_s))
    except KeyboardInterrupt:
        say_interrupted(operations.record.name)
        raise


async def _wait_async(operations: Operations, timeout_s: float | None) -> None:
    try:
        await bridge.awaited(operations.wait_for_start(timeout_s))
    except asyncio.CancelledError:
        say_interrupted(operations.record.name)
        raise


async def _create(given: Mapping[str, Any]) -> models.Cluster:
    values = dict(given)
    named = "name" in values
    if not named:
        values["name"] = "cluster"
    if "workers" not in values and "adaptive" in values:
        values["workers"] = values["adaptive"]["minimum"]
    # Mistakes are shown before anything is started.
    asking.validated(models.ClusterSpec, values)
    if "environment" not in values:
        known = await bridge.keeper().call("listEnvironments", models.EnvironmentList)
        values["environment"] = this_environment(known.environments)
    while True:
        if not named:
            values["name"] = await _free_name()
        try:
            return await asking.create(bridge.keeper(), asking.validated(models.ClusterSpec, values))
        except Conflict as error:
            # Another kernel took the name that was free a moment ago.
            if named or error.code is not ProblemCode.name_in_use:
                raise


async def _free_name() -> str:
    listed = await bridge.keeper().call("listClusters", models.ClusterList)
    base = notebook_name()
    return asking.free_name(base or "cluster", (c.name for c in listed.clusters), numbered=base is None)


@overload
def cluster(name: str, *, asynchronous: Literal[False] = ...) -> Cluster: ...
@overload
def cluster(name: str, *, asynchronous: Literal[True]) -> Opening: ...
def cluster(name: str, *, asynchronous: bool = False) -> Cluster | Opening:
    """Take up a cluster by its name or id, also one made in Lab, by the command line or by another notebook.

    One that has ended is returned as well, for its logs and timeline; connecting to it says why it ended.

    Raises:
        NotFound: there is none of that name; the hint lists the names there are.
    """
    if asynchronous:

        async def open_async() -> AsyncCluster:
            handle = AsyncCluster(await bridge.awaited(_find(name)), created=False)
            if handle.record.connectable:
                await handle
            return handle

        return Opening(open_async)
    return Cluster(bridge.run(_find(name)), created=False)


async def _find(name: str) -> models.Cluster:
    return await asking.find(bridge.keeper(), name, if_none=_NONE)
