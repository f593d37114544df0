"""Many workers in one process: `python swarm.py SCHEDULER HOST NUMBER FOLDER`; runs until it is killed."""

from __future__ import annotations

import asyncio
import sys

from distributed import Worker


async def swarm(scheduler: str, host: str, number: int, folder: str) -> None:
    workers = [
        Worker(
            scheduler, host=host, nthreads=1, memory_limit=0, dashboard=False, dashboard_address="127.0.0.1:0",
            local_directory=folder, heartbeat_interval="5s",
        )
        for _ in range(number)
    ]  # fmt: skip
    await asyncio.gather(*workers)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(swarm(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
