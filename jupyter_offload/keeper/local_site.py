"""The built-in site ``local``: this machine, with profiles computed from its cores and memory."""

from __future__ import annotations

from ..api.models import Profile, SiteDefinition
from ..machine import usable_cores, usable_memory_bytes

NAME = "local"
_GIB = 2**30
_MIB = 2**20
#: Most memory that a profile takes per core; who needs more asks for it.
_PER_CORE = 4 * _GIB
#: The rest is for scheduler, kernel, browser and the system.
_SHARE_OF_WORKERS = 0.85
_IDLE_TIMEOUT_S = 3600
_SIZES = (("small", "Small", 1), ("medium", "Medium", 2), ("large", "Large", 4))


def definition(cores: int | None = None, memory_bytes: int | None = None) -> SiteDefinition:
    """Return this machine as a site; cores and memory (bytes) are what the process may use unless given."""
    cores = cores or usable_cores()
    memory_bytes = memory_bytes or usable_memory_bytes()
    sizes = [size for size in _SIZES if size[2] <= cores]
    return SiteDefinition(
        name=NAME,
        title="This machine",
        description="Workers beside the notebook; nothing is submitted anywhere.",
        backend=NAME,
        profiles=[_profile(*size, cores=cores, memory_bytes=memory_bytes) for size in sizes],
        default_profile=sizes[0][0],
    )


def _profile(name: str, title: str, of_worker: int, *, cores: int, memory_bytes: int) -> Profile:
    fair = int(memory_bytes * _SHARE_OF_WORKERS * of_worker / cores)
    memory = max(min(_PER_CORE * of_worker, fair) // _MIB, 1) * _MIB
    return Profile(
        name=name,
        title=title,
        cores=of_worker,
        memory_bytes=memory,
        maximum_cores=cores,
        maximum_memory_bytes=memory_bytes,
        maximum_workers=max(4, 2 * cores // of_worker),  # twice as many threads as cores: tasks often wait for data
        idle_timeout_s=_IDLE_TIMEOUT_S,
        lifetime_s=0,
    )


def with_limits_of_this_machine(site: SiteDefinition) -> SiteDefinition:
    """Return a local site that an administrator wrote, with the machine's size where it names no maximum per worker."""
    cores, memory = usable_cores(), usable_memory_bytes()
    profiles = [
        p.model_copy(
            update={
                "maximum_cores": p.maximum_cores or max(cores, p.cores),
                "maximum_memory_bytes": p.maximum_memory_bytes or max(memory, p.memory_bytes),
            }
        )
        for p in site.profiles
    ]
    return site.model_copy(update={"profiles": profiles})
