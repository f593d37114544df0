"""An environment that is not ours: only distributed and what it requires, in a path with spaces, another HOME."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from process_tree import TIMEOUT_S, TreeOfOne, Zygote, clean_environment, until

CLIENT = """
import sys
from distributed import Client
from distributed.security import Security

address, ca, pem = sys.argv[1:]
with Client(address, security=Security(tls_ca_file=ca, tls_client_cert=pem, tls_client_key=pem)) as client:
    assert client.gather(client.map(lambda x: x + 1, range(10))) == list(range(1, 11))
    assert client._repr_html_()
    client.restart(timeout=60)
    print(client.submit(lambda: sorted(m for m in ("numpy", "bokeh", "pydantic") if m in sys.modules)).result(30))
"""


def requirements(name: str, found: dict[str, metadata.Distribution]) -> dict[str, metadata.Distribution]:
    """Return a distribution and all it requires without extras."""
    if name not in found:
        found[name] = metadata.distribution(name)
        for line in found[name].requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                requirements(requirement.name, found)
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that holds copies of just these distributions."""
    root = tmp_path_factory.mktemp("an environment") / "with spaces"
    venv.create(root, symlinks=True, with_pip=False)
    (packages,) = root.glob("lib/python*/site-packages")
    for distribution in requirements("distributed", {}).values():
        for file in distribution.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    return root / "bin" / "python"


@pytest.mark.parametrize("how", ["warm", "cold"])
def test_only_distributed_is_needed(
    python: Path, how: str, make_tree: Callable[..., TreeOfOne], tmp_path: Path
) -> None:
    home = tmp_path / "a home"
    home.mkdir()
    env = clean_environment(HOME=str(home))
    tree = make_tree(workers=2)
    zygote = Zygote(str(python), env) if how == "warm" else None
    try:
        if zygote is not None:
            tree.start_warm(zygote, env)
        else:
            tree.start_cold(str(python), env)
        tree.connected(2)
        arguments = [tree.ready()["scheduler_address"], tree.tls["ca_file"], tree.tls["client_file"]]
        done = subprocess.run(
            [str(python), "-c", CLIENT, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env=env,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "[]"
        versions = tree.control.call("hello")["versions"]
        assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
        tree.control.call("scale", workers=1)
        tree.connected(1)
        until(lambda: "No dashboard" in tree.log("scheduler"))
        assert not (tree.runtime / "dashboard.sock").exists()
        assert tree.stop()["code"] == "stopped"
    finally:
        if zygote is not None:
            zygote.dispose()
