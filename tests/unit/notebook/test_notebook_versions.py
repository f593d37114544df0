"""A kernel that does not fit its cluster is told so before it sends anything."""

import json
import platform
import time
import warnings

import cluster_records
import distributed
import pytest
from distributed.versions import VersionMismatchWarning

from jupyter_offload.api import models
from jupyter_offload.api.problems import BadInput, ProblemCode
from jupyter_offload.notebook.handles import Cluster


@pytest.fixture
def connect(tmp_path, monkeypatch):
    """Return a handle of a cluster whose scheduler has these versions."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))

    def handle(**versions):
        file = tmp_path / "connection.json"
        file.write_text(json.dumps({"id": "abc123", **versions}))
        tls = {f"{name}_file": str(file) for name in ("ca", "cert", "key")}
        one = Cluster(cluster_records.cluster(), created=False)
        one._operations.connection = models.Connection(
            id="abc123", name="zmumu", scheduler_address="tls://127.0.0.1:1", tls=tls, connection_file=str(file)
        )
        one._operations.connected_at = time.monotonic() + 60
        return one

    return handle


def test_another_python_is_refused_before_anything_is_sent(connect):
    with pytest.raises(BadInput) as refused:
        distributed.Client(connect(versions={"python": "3.99.1"}))
    assert refused.value.code is ProblemCode.environment_unusable and refused.value.field == "environment"
    assert f"Python {platform.python_version()}" in str(refused.value) and "3.99.1" in str(refused.value)
    assert "Python 3.99." in refused.value.hint


def test_another_dask_is_warned_of_by_name(connect):
    with pytest.warns(
        VersionMismatchWarning, match=f"distributed {distributed.__version__} where .*'zmumu' has 1999.1.0"
    ):
        assert connect(versions={"python": platform.python_version(), "distributed": "1999.1.0"}).security


@pytest.mark.parametrize(
    "told", [{}, {"versions": None}, {"versions": {"python": platform.python_version() + ".post1"}}]
)
def test_nothing_is_said_where_all_is_well_or_nothing_known(connect, told):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert connect(**told).security


def test_a_file_that_cannot_be_read_is_not_held_against_anybody(connect, tmp_path):
    handle = connect()
    (tmp_path / "connection.json").write_text("[")
    assert handle.security
