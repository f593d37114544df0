"""The process of an ordinary node: ``python -m tests.stack.ordinary_node JSON``. Ends with its pods on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

from .api import Api
from .environment import Images
from .logs import serve_logs
from .node import Node, NodeSpec


async def main(what: dict[str, Any]) -> None:
    folder = Path(what["folder"])
    pods: dict[str, Any] = {}
    port = serve_logs(folder, pods)
    images = Images(what["default_image"], what["images"])
    node = Node(
        Api(Path(what["control_plane"])), NodeSpec(**what["node"]), folder / "pods", images, what["network"], port
    )
    node.pods = pods
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    running = asyncio.create_task(node.run())
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await node.stop()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
