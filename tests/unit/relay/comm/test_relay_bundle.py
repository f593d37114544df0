"""The Dask end of the relay as one file that needs ``distributed`` alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from jupyter_offload.relay import bundle

LOOK = """
import sys
from distributed.comm.registry import get_backend
found = type(get_backend("relay"))
if __name__ == "__main__":
    print(found.__module__)
    print([m for m in sys.modules if m.partition(".")[0] == "jupyter_offload"])
"""
CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"


def test_dask_finds_it_by_the_path_alone_and_so_do_children(tmp_path: Path) -> None:
    file = tmp_path / "relay.zip"
    bundle.write_bundle(file, "1.2.3")
    env = {**os.environ, "PYTHONPATH": str(file)}
    for command in ([LOOK], [CHILD, LOOK]):
        done = subprocess.run(
            [sys.executable, "-c", *command],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["jupyter_offload_relay.comm.backend", "[]"]


def test_it_holds_the_dask_end_and_no_more(tmp_path: Path) -> None:
    bundle.write_bundle(tmp_path / "a.zip", "1.2.3")
    bundle.write_bundle(tmp_path / "b.zip", "1.2.3")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes(), (
        "the same sources give the same bytes"
    )
    names = zipfile.ZipFile(tmp_path / "a.zip").namelist()
    assert "jupyter_offload_relay/comm/session.py" in names
    assert "jupyter_offload_relay-1.2.3.dist-info/entry_points.txt" in names
    assert not any("hub" in name or "bundle" in name for name in names)
    assert (tmp_path / "a.zip").stat().st_size < 40_000, "it travels in a Secret"
