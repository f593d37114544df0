"""The doctor: each fault of an installation is found and comes with its remedy."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest
import yaml

from jupyter_offload import __version__
from jupyter_offload.api import locations
from jupyter_offload.api.models import Finding
from jupyter_offload.keeper import doctor, doctor_host, doctor_jupyter
from jupyter_offload.keeper.dask_migration import dask_config, equivalent_site, migration
from jupyter_offload.keeper.environments import Environments
from jupyter_offload.keeper.site_files import parse_site_file
from jupyter_offload.keeper.site_sources import backend_names
from jupyter_offload.keeper.sites import SiteRegistry


def one(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    if finding.state != "ok":
        assert finding.hint, finding
    return finding


async def examined() -> list[Finding]:
    return await doctor.examine(SiteRegistry(), Environments())


# ---------------------------------------------------------------- the whole
async def test_every_part_is_looked_at_and_every_fault_has_a_remedy() -> None:
    findings = await examined()
    checks = {f.check for f in findings}
    assert {"data-folder", "disk-space", "runtime-folder", "clock", "loopback", "tls", "hub", "keeper-log", "packages",
            "server-extension", "lab-extension", "environment python3", "site local: disk"} <= checks  # fmt: skip
    assert all(f.hint for f in findings if f.state != "ok")
    states = {f.check: f.state for f in findings}
    for check in ("data-folder", "runtime-folder", "loopback", "tls", "hub", "keeper-log", "environment python3"):
        assert states[check] == "ok", findings


async def test_a_broken_site_gives_one_finding_for_each_mistake(sites_folder: Path) -> None:
    file = sites_folder / "broken.yaml"
    file.write_text("backend: local\nprofiles:\n  - name: a\n    cores: x\n    memory_bytes: banana\n")
    mistakes = [f for f in await examined() if f.check == "site broken"]
    assert [f.state for f in mistakes] == ["error", "error"]
    assert mistakes[1].message == f"{file}: profiles[0].memory_bytes (line 5): 'banana' is not an amount of memory."
    assert mistakes[1].hint == "Write for example '4 GiB' or '512 MB'."


async def test_an_environment_without_dask_is_a_warning_with_the_pip_line(
    add_kernelspec: Callable[..., Path], tmp_path: Path
) -> None:
    add_kernelspec("gone", [str(tmp_path / "python"), "-m", "ipykernel_launcher"])
    (finding,) = [f for f in await examined() if f.check == "environment gone"]
    assert finding.state == "warning"
    assert "kernelspec remove gone" in (finding.hint or "")


async def test_a_check_that_fails_or_hangs_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Iterator[Finding]:
        raise ZeroDivisionError("oops")

    def hangs() -> Iterator[Finding]:
        time.sleep(1.5)
        return iter(())

    monkeypatch.setattr(doctor, "_BLOCKING", (("a", fails), ("b", hangs), ("loopback", doctor_host.loopback)))
    monkeypatch.setattr(doctor, "TIMEOUT_S", 0.5)
    findings = {f.check: f for f in await examined()}
    assert "ZeroDivisionError: oops" in findings["a"].message
    assert "No answer within" in findings["b"].message
    assert findings["loopback"].state == "ok"


# ---------------------------------------------------------------- this host
def test_a_data_folder_open_to_others() -> None:
    assert one(doctor_host.data_folder()).state == "ok"
    folder = locations.data_folder()
    folder.chmod(0o755)
    finding = one(doctor_host.data_folder())
    assert finding.state == "error"
    assert "0755" in finding.message
    assert finding.hint == f"Close it: chmod 700 {folder}"


def test_a_data_folder_that_cannot_be_written(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folders / "file").touch()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(folders / "file"))
    finding = one(doctor_host.data_folder())
    assert finding.state == "error"
    assert "JUPYTER_DATA_DIR" in (finding.hint or "")


@pytest.mark.parametrize(("free", "state"), [(10 * 2**30, "ok"), (2**29, "warning"), (2**20, "error")])
def test_disk_space(free: int, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage(".")
    monkeypatch.setattr(doctor_host.shutil, "disk_usage", lambda _: real._replace(free=free))
    findings = list(doctor_host.disk_space())
    assert [f.state for f in findings] == [state, state]


async def test_a_runtime_folder_of_somebody_else_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = locations.runtime_folder()
    folder.chmod(0o755)
    monkeypatch.setattr(doctor, "_BLOCKING", (("runtime-folder", doctor_host.runtime_folder),))
    finding = next(f for f in await examined() if f.check == "runtime-folder")
    assert finding.state == "error"
    assert f"rm -r {folder}" in (finding.hint or "")


def test_a_runtime_folder_on_a_network_or_with_a_long_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(doctor_host.runtime_folder()).state == "ok"
    folder = locations.runtime_folder()
    real = psutil.disk_partitions(all=True)
    mounts = [*real, real[0]._replace(mountpoint=str(folder.parent), fstype="nfs4")]
    with monkeypatch.context() as patch:
        patch.setattr(doctor_host.psutil, "disk_partitions", lambda **_: mounts)
        finding = one(doctor_host.runtime_folder())
        assert (finding.state, "nfs4" in finding.message) == ("warning", True)
    monkeypatch.setattr(doctor_host, "LONGEST_SOCKET_PATH", 20)
    assert "too long" in one(doctor_host.runtime_folder()).message


def test_clocks_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(doctor_host.clock()).state == "ok"
    real = time.time
    monkeypatch.setattr(doctor_host.time, "time", lambda: real() - 7230)
    finding = one(doctor_host.clock())
    assert finding.state == "warning"
    assert "2 h" in finding.message


def test_a_firewall_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(doctor_host.socket, "create_connection", refused)
    assert one(doctor_host.loopback()).state == "error"


def test_an_old_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_host.ssl, "OPENSSL_VERSION_INFO", (1, 0, 2, 0, 0))
    assert one(doctor_host.tls()).state == "error"


def test_a_hub_that_ends_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_OFFLOAD_ENDS_WITH_SERVER", "1")
    assert one(doctor_host.hub()).state == "warning"


def test_errors_in_the_keepers_log_of_late() -> None:
    log = locations.keeper_log_path()
    log.parent.mkdir(exist_ok=True)
    now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    log.write_text(f"2020-01-01 00:00:00,000 1 ERROR x: long ago\n{now},123 1 INFO x: ERROR is a word\n")
    assert one(doctor_host.keeper_log()).state == "ok"
    with log.open("a") as out:
        out.write(f"{now},123 7 ERROR jupyter_offload.keeper.app: the disk is full\nTraceback\n")
    finding = one(doctor_host.keeper_log())
    assert finding.state == "warning"
    assert finding.message.startswith("1 errors in")
    assert "the disk is full" in finding.message


# ---------------------------------------------------------------- Jupyter
def write_json(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def server_config(enabled: object) -> dict[str, object]:
    return {"ServerApp": {"jpserver_extensions": {"jupyter_offload": enabled}}}


@pytest.fixture
def nothing_installed(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Only this user's Jupyter folders count."""
    monkeypatch.setattr(
        doctor_jupyter, "jupyter_config_path", lambda: [str(folders / "config"), str(folders / "system")]
    )
    monkeypatch.setattr(doctor_jupyter, "jupyter_path", lambda name: [str(folders / "data" / name)])
    return folders


def test_the_server_extension(nothing_installed: Path) -> None:
    folders = nothing_installed
    finding = one(doctor_jupyter.server_extension())
    assert finding.state == "error"
    assert finding.hint == f"Enable it: {sys.executable} -m jupyter server extension enable jupyter_offload"
    write_json(folders / "system" / "jupyter_server_config.d" / "jupyter_offload.json", server_config(True))
    assert one(doctor_jupyter.server_extension()).state == "ok"
    user = write_json(folders / "config" / "jupyter_server_config.json", server_config(False))
    finding = one(doctor_jupyter.server_extension())
    assert (finding.state, finding.message) == ("error", f"Disabled by {user}.")
    user.write_text("{")
    findings = list(doctor_jupyter.server_extension())
    assert [f.state for f in findings] == ["error", "ok"]
    assert str(user) in (findings[0].hint or "")


@pytest.mark.parametrize(
    "disabled", [{"jupyter-offload": True}, {"jupyter-offload:clusters": True}, ["jupyter-offload"]]
)
def test_the_lab_extension(disabled: object, nothing_installed: Path) -> None:
    folders = nothing_installed
    finding = one(doctor_jupyter.lab_extension())
    assert finding.state == "error"
    assert "pip install" in (finding.hint or "")
    package = write_json(
        folders / "data" / "labextensions" / "jupyter-offload" / "package.json", {"version": __version__}
    )
    assert one(doctor_jupyter.lab_extension()).state == "ok"
    page = write_json(folders / "config" / "labconfig" / "page_config.json", {"disabledExtensions": disabled})
    finding = one(doctor_jupyter.lab_extension())
    assert (finding.state, finding.message) == ("error", f"Disabled by {page}.")
    page.write_text(json.dumps({"disabledExtensions": {"jupyter-offload": False, "other": True}}))
    assert one(doctor_jupyter.lab_extension()).state == "ok"
    write_json(package, {"version": "99.0.0"})
    finding = one(doctor_jupyter.lab_extension())
    assert finding.state == "warning"
    assert "99.0.0" in finding.message


def test_packages_in_versions_that_are_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor_jupyter, "requires",
        lambda _: ["distributed>=9999", "no-such-package-at-all", "pydantic<3", 'rucio-clients>=36; extra == "rucio"'],
    )  # fmt: skip
    first, second = doctor_jupyter.packages()
    assert first.state == second.state == "error"
    assert ">=9999" in first.message
    assert first.hint == f"Install it: {sys.executable} -m pip install 'distributed>=9999'"
    assert second.message == "no-such-package-at-all is missing."


def test_a_python_outside_of_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_jupyter.sys, "version_info", (3, 99, 0))
    monkeypatch.setattr(doctor_jupyter, "requires", lambda _: [])
    assert "3.99.0 is outside" in one(doctor_jupyter.packages()).message


# ---------------------------------------------------------------- coming from dask-labextension
async def test_a_labextension_factory_is_told_as_a_site(folders: Path) -> None:
    (folders / "dask" / "labextension.yaml").write_text(
        "labextension:\n"
        "  factory:\n    module: dask.distributed\n    class: LocalCluster\n    args: []\n"
        "    kwargs: {threads_per_worker: 2, memory_limit: 3 GiB}\n"
        "  default: {workers: null, adapt: {minimum: 0, maximum: 6}}\n"
    )
    config = await dask_config("labextension")
    assert config["factory"]["class"] == "LocalCluster"
    (finding,) = [f for f in await examined() if f.check == "dask-labextension"]
    assert finding.state == "warning"
    head, _, text = (finding.hint or "").partition("\n")
    assert head.endswith("/offload/sites/local.yaml:")
    assert str(folders / "config") in head
    definition = parse_site_file(Path("local.yaml"), text.encode()).definition
    assert definition is not None
    (profile,) = definition.profiles
    assert (profile.cores, profile.memory_bytes, profile.maximum_workers) == (2, 3 * 2**30, 6)


async def test_without_such_a_factory_there_is_nothing_to_say(folders: Path) -> None:
    assert await dask_config("labextension") == {}
    assert migration({"factory": {"module": None, "class": None}}) == []
    assert [f for f in await examined() if f.check == "dask-labextension"] == []


async def test_a_dask_configuration_that_cannot_be_read_is_said(folders: Path) -> None:
    (folders / "dask" / "labextension.yaml").write_text("labextension: [\n")
    (finding,) = [f for f in await examined() if f.check == "dask-labextension"]
    assert finding.state == "error"
    assert "labextension.yaml" in finding.message


@pytest.mark.parametrize(
    ("factory", "default", "expected"),
    [
        (
            {"class": "SLURMCluster", "kwargs": {"queue": "short", "cores": 8, "memory": "16 GB", "walltime": "1-02:00:00"}},
            {"workers": 4},
            {"name": "slurm", "backend": "jobqueue", "options": {"system": "slurm", "queue": "short"}, "cores": 8,
             "memory": 16 * 10**9, "workers": 4, "walltime": 26 * 3600},
        ),
        (
            {"class": "KubeCluster", "kwargs": {"image": "daskdev/dask", "resources": {"limits": {"cpu": "2", "memory": "4Gi"}}}},
            {},
            {"name": "kubernetes", "backend": "kubernetes", "options": {"image": "daskdev/dask"}, "cores": 2,
             "memory": 4 * 2**30, "workers": 100, "walltime": None},
        ),
        (
            {"class": "LocalCluster", "kwargs": {"n_workers": 3, "memory_limit": "auto"}},
            None,
            {"name": "local", "backend": "local", "options": {}, "cores": 1, "memory": 4 * 2**30, "workers": 3,
             "walltime": None},
        ),
    ],
)  # fmt: skip
def test_every_kind_of_factory_becomes_a_valid_site(
    factory: dict[str, object], default: dict[str, object] | None, expected: dict[str, object]
) -> None:
    name, site = equivalent_site(factory, default or {})
    file = parse_site_file(Path(f"{name}.yaml"), yaml.safe_dump(site).encode())
    assert file.problems == []
    assert file.definition is not None
    (profile,) = file.definition.profiles
    assert expected == {
        "name": name, "backend": file.definition.backend, "options": file.definition.options, "cores": profile.cores,
        "memory": profile.memory_bytes, "workers": profile.maximum_workers, "walltime": profile.walltime_s,
    }  # fmt: skip
    (finding,) = migration({"factory": factory, "default": default, "initial": [{"name": "x"}]})
    assert ("not installed here yet" in (finding.hint or "")) == (site["backend"] not in backend_names())
    assert "'initial'" in finding.message


def test_this_machine_has_no_leftovers_of_the_doctor() -> None:
    before = set(os.listdir(locations.data_folder().parent))
    list(doctor_host.tls())
    list(doctor_host.clock())
    list(doctor_host.data_folder())
    assert set(os.listdir(locations.data_folder().parent)) - before <= {"offload"}
    assert os.listdir(locations.data_folder()) == []
