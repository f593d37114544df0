"""What a Jupyter server gains by us: new servers with and without the extension, alternating."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..report import Result, interleave
from ..servers import jupyter_server
from ..workspace import workspace

UNITS = {"first answer": "s", "CPU until then": "s", "RSS": "MiB", "USS": "MiB"}
WITH, WITHOUT = "with us", "without us"
SETTLE_S = 1.5


def measure(*, ours: bool) -> dict[str, float]:
    """Start a Jupyter server with Lab's extension, as people have it, and with or without ours."""
    with workspace() as place, jupyter_server(place, {"jupyter_offload": ours}) as server:
        cpu = server.seen.cpu_times()
        answered = {"first answer": server.started_s, "CPU until then": cpu.user + cpu.system}
        time.sleep(SETTLE_S)
        memory = server.seen.memory_full_info()
        if (server.http.get("/offload/v1/health").status_code == 200) is not ours:
            raise RuntimeError("the extension is not as it should be in this server")
        return {**answered, "RSS": memory.rss / 2**20, "USS": memory.uss / 2**20}


def run(rounds: int, say: Callable[[str], None]) -> Result:
    """Measure both kinds of server once a round."""
    result = Result("What the Jupyter server gains by us", UNITS)
    interleave({WITH: lambda: measure(ours=True), WITHOUT: lambda: measure(ours=False)}, rounds, result, say)
    for metric, limit in (("first answer", 0.3), ("CPU until then", 0.3), ("RSS", 15), ("USS", 15)):
        with_us, without = result.median(WITH, metric), result.median(WITHOUT, metric)
        gained = None if with_us is None or without is None else with_us - without
        result.goal(f"{metric}, gained", gained, limit, unit=UNITS[metric])
    result.notes.append(
        f"Memory {SETTLE_S:g} s after the first answer. The keeper is another process and not in these figures."
    )
    return result
