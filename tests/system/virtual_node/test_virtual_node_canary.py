"""One worker at a site, by the command line: what it says of a site that works, and of one that does not."""

from __future__ import annotations

import subprocess
import sys

from jupyter_offload.api.models import ClusterList

from .conftest import SITE, FarDesk


def canary(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jupyter_offload.cli", "doctor", "--canary", SITE, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


def test_a_canary_tells_how_far_it_came_and_goes(far: FarDesk) -> None:
    done = canary()
    assert done.returncode == 0, done.stdout + done.stderr
    for told in ("Since the request:", "proven", "round trip", "job-", "distributed", "was gone"):
        assert told in done.stdout, done.stdout
    assert not far.node.running()

    far.node.misbehave(refuse="no partition is open to you")
    done = canary()
    assert done.returncode == 1, done.stdout
    assert "no partition is open to you" in done.stdout
    assert "was gone" in done.stdout
    phases = {c.phase.value for c in far.client.call("listClusters", ClusterList).clusters}
    assert phases <= {"stopped", "failed"}
