"""Importing the package costs nothing; asking for a word of the API loads it."""

import subprocess
import sys


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
