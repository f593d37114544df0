"""Without a zygote clusters start cold, by a Python of their own: slower, and otherwise the same."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import psutil

from jupyter_offload.api import locations
from jupyter_offload.keeper.zygotes import Interpreter, zygote_key

from .conftest import Desk


def test_clusters_start_cold_where_no_zygote_can_be_had(desk: Desk, log_of) -> None:
    """A folder lies where the zygote's socket belongs: it dies while starting, and nobody can take the folder away."""
    blocked = locations.runtime_folder() / f"z-{zygote_key(Interpreter(sys.executable))}.sock"
    (blocked / "in the way").mkdir(parents=True)
    cluster = desk.new("cold", 1)
    assert "clusters start cold" in log_of() and "background work failed" not in log_of()
    assert desk.zygotes() == []
    supervisor = psutil.Process(desk.ready(cluster)["supervisor"]["pid"])
    assert "supervise" in supervisor.cmdline(), "not forked but started"
    with desk.dask("cold") as dask:
        assert sum(dask.gather(dask.map(lambda x: x * x, range(10)))) == 285
        assert dask.submit(os.getcwd).result(60) == str(Path.home())
    desk.change("cold", workers=2)
    desk.when("cold", lambda c: c.workers.connected == 2)
    desk.change("cold", workers=1)
    desk.when("cold", lambda c: c.workers.connected == 1 and len(c.worker_list) == 1)
    desk.kill_keeper()
    assert desk.get("cold").connectable, "it outlives its keeper as one that was forked"
    assert desk.stop("cold").reason.code.value == "stop-requested"
    with contextlib.suppress(psutil.NoSuchProcess):  # else it has ended, and nobody was there to reap it
        assert supervisor.status() == psutil.STATUS_ZOMBIE


def test_a_keeper_finds_the_zygote_of_the_one_before(desk: Desk) -> None:
    """The same interpreter has the same name in every keeper, so that the next one need not import everything again."""
    desk.new("first", 1)
    (zygote,) = desk.zygotes()
    for _ in range(3):  # by chance two of them may agree
        desk.kill_keeper()
        assert desk.get("first").connectable
    cluster = desk.new("second", 1)
    assert zygote.is_running()
    assert psutil.Process(desk.ready(cluster)["supervisor"]["pid"]).cmdline() == zygote.cmdline(), (
        "forked from that one"
    )
