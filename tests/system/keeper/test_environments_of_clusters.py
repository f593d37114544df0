"""Clusters run what their environment is, with all that its kernelspec sets for it."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

from .conftest import Desk


def kernelspec_beside_its_packages(desk: Desk, name: str, **variables: str) -> Path:
    """Install a kernelspec as software on /cvmfs has it: its Python finds Dask through PYTHONPATH; return that Python."""
    venv.create(desk.home / name, with_pip=False, symlinks=True)
    python = desk.home / name / "bin" / "python"
    env = {"PYTHONPATH": sysconfig.get_path("purelib"), **variables}
    folder = desk.home / "data" / "kernels" / name
    folder.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": name, "language": "python", "env": env}
    (folder / "kernel.json").write_text(json.dumps(spec))
    return python


def look() -> Callable[[], tuple[str, str | None, str | None]]:
    """Return a function that says where it runs; the workers cannot import this file, so it goes to them by value."""
    return lambda: (sys.executable, os.environ.get("VIEW"), os.environ.get("COLOUR"))


def test_a_cluster_has_the_variables_of_its_kernelspec(desk: Desk) -> None:
    python = kernelspec_beside_its_packages(desk, "lcg", VIEW="LCG_107", COLOUR="of the kernel")
    desk.new("view", 1, environment="lcg", env={"COLOUR": "of the user"})
    with desk.dask("view") as dask:
        assert dask.submit(look()).result(60) == (str(python), "LCG_107", "of the user")
        # one that starts later, for a keeper that knows only what was saved
        desk.kill_keeper()
        desk.change("view", workers=2)
        desk.when("view", lambda c: c.workers.connected == 2)
        assert set(dask.run(look()).values()) == {(str(python), "LCG_107", "of the user")}


def test_no_cluster_has_the_variables_of_another_kernelspec(desk: Desk) -> None:
    """One Python, two kernelspecs: what was imported once under the variables of one must not be used by the other."""
    for name, view in (("one", "LCG_106"), ("two", "LCG_107")):
        kernelspec_beside_its_packages(desk, name, VIEW=view)
    other = desk.home / "data" / "kernels" / "two" / "kernel.json"
    spec = json.loads(other.read_text())
    spec["argv"][0] = str(desk.home / "one" / "bin" / "python")
    other.write_text(json.dumps(spec))
    for name, view in (("one", "LCG_106"), ("two", "LCG_107")):
        desk.new(name, 1, environment=name)
        with desk.dask(name) as dask:
            assert dask.submit(look()).result(60) == (str(desk.home / "one" / "bin" / "python"), view, None)
    assert {p.environ().get("VIEW") for p in desk.zygotes()} >= {"LCG_106", "LCG_107"}
