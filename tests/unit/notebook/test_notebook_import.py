"""Importing the package costs nothing; asking for a word of the API loads it."""

import re
import subprocess
import sys
from pathlib import Path


def loaded_after(code):
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_the_package_alone_loads_nothing():
    assert not loaded_after("import jupyter_offload") & {
        "pydantic",
        "httpx",
        "distributed",
        "dask",
        "jupyter_offload.notebook",
    }


def test_the_notebook_api_waits_with_dask_until_a_client_is_made():
    loaded = loaded_after("from jupyter_offload import cluster, new_cluster, sites, OffloadError, Cluster")
    assert "jupyter_offload.notebook.opening" in loaded
    assert not loaded & {"distributed", "dask", "IPython", "jupyter_server"}


def test_one_exception_catches_all_and_families_are_documented():
    """What the reference says of exceptions: each family is there, is caught by the one at the top, and none is left out."""
    import jupyter_offload as offload
    from jupyter_offload.api import problems

    assert offload.OffloadError is problems.OffloadError
    assert problems.Conflict("name-in-use", "Taken.").code == "name-in-use"
    page = Path(__file__).parents[3] / "docs" / "reference" / "notebook-api.md"
    table = re.search(r"\| class \|.*?\n\n", page.read_text(), re.DOTALL)
    documented = set(re.findall(r"^\| `(\w+)` \|", table[0], re.MULTILINE))
    families = {n for n, c in vars(problems).items() if isinstance(c, type) and issubclass(c, offload.OffloadError)}
    assert documented == families - {"OffloadError", "TooLarge"}, "nothing a notebook sends is too large"
