"""Where things lie, and who may look in; and meeting a keeper of another release."""

from __future__ import annotations

import json
import shutil
import socketserver
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from jupyter_core.paths import jupyter_config_path

from jupyter_offload import __version__
from jupyter_offload.api import locations, start
from jupyter_offload.api.problems import Broken, ProblemCode, Unavailable
from jupyter_offload.api.routes import API_VERSION


@pytest.fixture(autouse=True)
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tempfile.mkdtemp(dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    yield Path(folder)
    shutil.rmtree(folder)


# ---------------------------------------------------------------- places
def test_sockets_are_in_a_private_short_folder(short: Path) -> None:
    folder = locations.runtime_folder()
    assert folder.is_relative_to(short)
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert len(str(locations.socket_path())) < 104
    assert locations.lock_path().parent == folder


def test_each_data_folder_has_its_own_keeper_and_links_to_one_are_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    first = locations.socket_path()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "other"))
    assert locations.socket_path() != first
    (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "link"))
    assert locations.socket_path() == first


@pytest.mark.parametrize("base", [None, "/no/such/folder", "/tmp/" + "x" * 60])
def test_without_a_usable_runtime_folder_there_is_one_of_this_user(
    base: str | None, monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    if base is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", base)
    folder = locations.runtime_folder()
    assert folder.is_relative_to(short)
    assert folder.parent.name.startswith("jupyter-offload-")


def test_a_folder_that_others_may_open_or_that_is_a_link_is_refused(short: Path) -> None:
    folder = locations.runtime_folder()
    folder.chmod(0o750)
    with pytest.raises(Broken) as caught:
        locations.runtime_folder()
    assert str(folder) in caught.value.message
    assert f"rm -r {folder}" in (caught.value.hint or "")
    folder.rmdir()
    (short / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(short / "elsewhere")
    with pytest.raises(Broken):
        locations.runtime_folder()


def test_site_files_are_looked_for_where_jupyter_looks(tmp_path: Path) -> None:
    folders = locations.sites_folders()
    assert folders == [Path(p) / "offload" / "sites" for p in jupyter_config_path()]
    assert tmp_path / "config" / "offload" / "sites" in folders


def test_an_owner_without_an_account_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(locations.getpass, "getuser", nobody)
    assert locations.owner_name().startswith("uid-")
    assert locations.host_name()


# ---------------------------------------------------------------- secrets and hubs
def test_the_keeper_gets_no_secret_of_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTERHUB_API_TOKEN", "JUPYTER_TOKEN", "CONFIGPROXY_AUTH_TOKEN", "JPY_API_TOKEN"):
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("MY_DATA", "kept")
    env = start.clean_environment()
    assert "s3cret" not in env.values()
    assert env["MY_DATA"] == "kept"


@pytest.mark.parametrize(("said", "expected"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_what_somebody_says_about_the_hub_wins(said: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/me/")
    monkeypatch.setenv(start.ENDS_WITH_SERVER, said)
    assert start.ends_with_server() is expected
    assert start.clean_environment()[start.ENDS_WITH_SERVER] == ("1" if expected else "0")


def test_without_a_hub_clusters_outlive_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    monkeypatch.delenv(start.ENDS_WITH_SERVER, raising=False)
    assert start.ends_with_server() is False


# ---------------------------------------------------------------- keepers of other releases
@contextmanager
def keeper(**health: object) -> Iterator[list[str]]:
    """A process that answers as a keeper of some release would; yields the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def answer(self) -> None:
            asked.append(f"{self.command} {self.path}")
            body = json.dumps(health).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.ThreadingUnixStreamServer(str(locations.socket_path()), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Starting a keeper is noted and does not happen."""
    logs: list[Path] = []
    monkeypatch.setattr(start, "_spawn", logs.append)
    monkeypatch.setattr(start, "START_TIMEOUT_S", 0.3)
    return logs


@pytest.mark.parametrize(
    "health", [{"version": __version__, "api": API_VERSION}, {"version": "99.0", "api": API_VERSION + 1}]
)
def test_a_keeper_of_this_release_or_newer_is_taken(health: dict[str, object], spawned: list[Path]) -> None:
    with keeper(**health) as asked:
        assert start.ensure_keeper() == locations.socket_path()
    assert asked == ["GET /health"]
    assert spawned == []


@pytest.mark.parametrize(
    "health", [{"version": "99.0", "api": API_VERSION - 1}, {"version": "0.0.1", "api": API_VERSION}]
)
def test_an_older_keeper_is_asked_to_hand_over_and_one_that_does_not_is_named(
    health: dict[str, object], spawned: list[Path]
) -> None:
    with keeper(pid=4711, **health) as asked, pytest.raises(Unavailable) as caught:
        start.ensure_keeper()
    assert "POST /hand-over" in asked
    assert caught.value.code is ProblemCode.keeper_outdated
    assert str(health["version"]) in caught.value.message
    assert "kill 4711" in (caught.value.hint or "")


def test_a_keeper_that_does_not_start_is_quoted(spawned: list[Path]) -> None:
    log = locations.keeper_log_path()
    log.parent.mkdir(parents=True)
    log.write_text("one\nImportError: no module named x\n")
    with pytest.raises(Unavailable) as caught:
        start.ensure_keeper()
    assert caught.value.code is ProblemCode.keeper_unreachable
    assert "ImportError: no module named x" in caught.value.message
    assert str(log) in (caught.value.hint or "")
    assert spawned == [log]


def test_where_keepers_have_pods_a_doorway_is_started_and_quoted(
    spawned: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    (tmp_path / "config" / "offload").mkdir(parents=True)
    assert locations.placement_file() is None
    file = tmp_path / "config" / "offload" / "placement.yaml"
    file.touch()
    assert locations.placement_file() == file
    with pytest.raises(Unavailable) as caught:
        start.ensure_keeper()
    assert spawned == [locations.doorway_log_path()]
    assert str(locations.doorway_log_path()) in (caught.value.hint or "")
    # in such a pod the keeper is the keeper
    monkeypatch.setenv(locations.ADDRESS, "10.0.0.7")
    assert locations.placement_file() is None
    assert locations.kernel_address() == "10.0.0.7"


def test_a_pods_data_folder_takes_its_owners_id_once() -> None:
    locations.take_owner_id("0123456789abcdef")
    assert locations.owner_id() == "0123456789abcdef"
    locations.take_owner_id("0123456789abcdef")
    with pytest.raises(ValueError, match="belongs to the owner 0123456789abcdef"):
        locations.take_owner_id("fedcba9876543210")
