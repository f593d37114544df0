"""What a kernel can know of its server, its notebook and its environment."""

import json
import os
import sys

import pytest

from jupyter_offload.api.models import Environment
from jupyter_offload.notebook import surroundings


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    for name in ("JUPYTERHUB_SERVICE_PREFIX", "JPY_PARENT_PID", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def server_file(folder, pid, **info):
    (folder / f"jpserver-{pid}.json").write_text(json.dumps({"pid": pid, "token": "s3cret", "password": False} | info))


def test_link_of_a_kernel_of_a_running_server_has_no_token(bare, monkeypatch):
    monkeypatch.setenv("JPY_PARENT_PID", "4711")
    server_file(bare, 4711, url="http://localhost:8899/lab%20x/", base_url="/lab%20x/")
    link = surroundings.dashboard_link("abc123", "zmumu")
    assert link == "http://localhost:8899/lab%20x/offload/v1/clusters/abc123/dashboard/"


def test_another_running_server_is_not_taken_for_ours(bare, monkeypatch):
    monkeypatch.setenv("JPY_PARENT_PID", "4711")
    server_file(bare, 4712, url="http://localhost:8899/", base_url="/")
    link = surroundings.dashboard_link("abc123", "zmumu")
    assert "http" not in link
    assert "panel Offload" in link and "zmumu" in link


def test_server_is_found_by_the_parent_process_too(bare):
    server_file(bare, os.getppid(), url="https://host:8/", base_url="/")
    assert surroundings.server_base() == "https://host:8/"


def test_hub_prefix_is_enough_for_the_browser(monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/hub/user/a%40b")
    assert surroundings.dashboard_link("abc123", "z") == "/hub/user/a%40b/offload/v1/clusters/abc123/dashboard/"


def test_server_on_a_unix_socket_gives_a_path(bare, monkeypatch):
    monkeypatch.setenv("JPY_PARENT_PID", "4711")
    server_file(bare, 4711, url="http+unix://%2Frun%2Fj.sock/b/", base_url="/b/")
    assert surroundings.server_base() == "/b/"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": 3}'])
def test_broken_server_file_is_no_server(bare, monkeypatch, content):
    monkeypatch.setenv("JPY_PARENT_PID", "4711")
    (bare / "jpserver-4711.json").write_text(content)
    assert surroundings.server_base() is None


@pytest.mark.parametrize(
    ("session", "name"),
    [
        ("/home/u/zmumu.ipynb", "zmumu"),
        ("/home/u/Z to µµ (2).ipynb", "Z-to-2"),
        ("/home/u/" + "a" * 60 + ".ipynb", "a" * 32),
        ("/home/u/µµ.ipynb", None),
        ("console-1-0e4f", None),
        ("", None),
    ],
)
def test_cluster_takes_the_name_of_the_notebook(monkeypatch, session, name):
    monkeypatch.setenv("JPY_SESSION_NAME", session)
    assert surroundings.notebook_name() == name


def environment(name, python):
    return Environment(name=name, title=name, python=str(python), usable=True)


def test_this_python_is_named_by_its_kernelspec(tmp_path):
    other = tmp_path / "bin"
    other.mkdir()
    # Another virtual environment, whose python is a link to the same binary: not this environment.
    (other / "python").symlink_to(os.path.realpath(sys.executable))
    known = [environment("other", other / "python"), environment("mine", sys.executable)]
    assert surroundings.this_environment(known) == "mine"
    assert surroundings.this_environment(known[:1]) == sys.executable


def test_python3_and_python_of_one_environment_are_the_same(tmp_path, monkeypatch):
    (tmp_path / "python3").symlink_to(os.path.realpath(sys.executable))
    (tmp_path / "python").symlink_to("python3")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert surroundings.this_environment([environment("mine", tmp_path / "python3")]) == "mine"
