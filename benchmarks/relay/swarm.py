"""Many Dask workers in one process: ``python -m benchmarks.relay.swarm SCHEDULER COUNT HOST PROTOCOL FOLDER``.

It says "ready", waits for a line, starts all its workers at once and says "started". They live until it is killed.
"""

from __future__ import annotations

import asyncio
import sys

from distributed import Worker


async def live(scheduler: str, count: int, host: str, protocol: str, folder: str) -> None:
    """Start the workers when we are told to, and serve."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    workers = [
        Worker(
            scheduler, host=host, protocol=protocol, nthreads=1, memory_limit=None, local_directory=folder, dashboard=False,
            dashboard_address="127.0.0.1:0", death_timeout=120,
        )
        for _ in range(count)
    ]  # fmt: skip
    await asyncio.gather(*workers)
    print("started", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    where, number, listen, scheme, place = sys.argv[1:]
    asyncio.run(live(where, int(number), listen, scheme, place))
