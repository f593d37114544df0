"""Environments: real Pythons behind real kernelspecs, and what is said of those that cannot run a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from jupyter_offload.api.models import Environment
from jupyter_offload.api.problems import BadInput, NotFound, ProblemCode
from jupyter_offload.keeper import environments as module
from jupyter_offload.keeper.environments import Environments

IPYKERNEL = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
AddKernelspec = Callable[..., Path]


class CountedRuns:
    """Counts how often a Python was really started, and how many at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pythons: list[str] = []
        self.running = 0
        self.most_at_once = 0
        self._real = module._run
        monkeypatch.setattr(module, "_run", self)

    async def __call__(self, candidate: module.Candidate) -> object:
        self.pythons.append(candidate.python)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            return await self._real(candidate)
        finally:
            self.running -= 1


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> CountedRuns:
    return CountedRuns(monkeypatch)


@pytest.fixture
def bare_venv(tmp_path: Path) -> Path:
    """A virtual environment without anything, in a folder with a space; returns its Python."""
    folder = tmp_path / "a bare one"
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


def install(python: Path, name: str, version: str) -> None:
    packages = next((python.parent.parent / "lib").glob("python*/site-packages"))
    info = packages / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


async def named(name: str, environments: Environments | None = None) -> Environment:
    return next(e for e in await (environments or Environments()).list() if e.name == name)


async def unusable(wanted: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        await Environments().resolve(wanted)
    assert caught.value.field == "environment"
    return caught.value


# ---------------------------------------------------------------- the default
async def test_the_default_is_the_keepers_own_python_and_takes_no_process(runs: CountedRuns) -> None:
    environment = await Environments().resolve(None)
    assert environment.default
    assert environment.usable
    assert environment.python == sys.executable
    assert environment.python_version == ".".join(map(str, sys.version_info[:3]))
    assert {"dask", "distributed"} <= set(environment.versions)
    assert runs.pythons == []


async def test_a_kernelspec_of_the_same_python_is_the_default(add_kernelspec: AddKernelspec) -> None:
    add_kernelspec("analysis", ["python", *IPYKERNEL])
    add_kernelspec("tuned", [sys.executable, *IPYKERNEL], env={"OMP_NUM_THREADS": "1"})
    environments = await Environments().list()
    default = environments[0]
    assert [e.name for e in environments if e.default] == [default.name]
    assert default.python == sys.executable
    assert default.name != "tuned"  # the plainest is the default
    assert (await Environments().resolve("analysis")).python == sys.executable


async def test_without_any_kernelspec_the_keepers_python_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "python_candidates", list)
    (environment,) = await Environments().list()
    assert environment.default
    assert environment.name == sys.executable
    assert await Environments().resolve(environment.name) == environment


# ---------------------------------------------------------------- those that lack something
async def test_a_python_without_dask_names_the_package_and_the_pip_line(
    add_kernelspec: AddKernelspec, bare_venv: Path
) -> None:
    add_kernelspec("bare", [str(bare_venv), *IPYKERNEL])
    environment = await named("bare")
    assert not environment.usable
    assert environment.python == str(bare_venv)
    assert "'distributed'" in (environment.problem or "")
    quoted = f"'{bare_venv}'"
    assert environment.hint == f'{quoted} -m ensurepip && {quoted} -m pip install "distributed"'
    error = await unusable("bare")
    assert error.code is ProblemCode.environment_unusable
    assert error.hint == environment.hint


async def test_with_pip_the_line_is_pip_alone_and_dask_alone_is_named(bare_venv: Path) -> None:
    install(bare_venv, "distributed", "2026.1.0")
    (next((bare_venv.parent.parent / "lib").glob("python*/site-packages")) / "pip").mkdir()
    error = await unusable(str(bare_venv))
    assert "The package 'dask' is missing." in error.message
    assert error.hint == f"'{bare_venv}' -m pip install \"dask\""


async def test_an_old_distributed_is_told_the_least_version(bare_venv: Path) -> None:
    install(bare_venv, "distributed", "2024.12.1")
    install(bare_venv, "dask", "2024.12.1")
    error = await unusable(str(bare_venv))
    assert "2024.12.1 is too old" in error.message
    assert '-m pip install "distributed>=2025.3"' in (error.hint or "")


async def test_an_old_python_is_told_the_least_version(bare_venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MINIMUM_PYTHON", (4, 0))
    assert "clusters need 4.0 or newer" in (await unusable(str(bare_venv))).message


async def test_an_installed_package_is_noticed_and_otherwise_nothing_is_asked_twice(
    add_kernelspec: AddKernelspec, bare_venv: Path, runs: CountedRuns
) -> None:
    add_kernelspec("bare", [str(bare_venv), *IPYKERNEL])
    environments = Environments()
    first = await asyncio.gather(*(named("bare", environments) for _ in range(5)))
    assert {e.usable for e in first} == {False}
    assert runs.pythons == [str(bare_venv)]
    install(bare_venv, "distributed", "2026.8.0")
    install(bare_venv, "dask", "2026.8.0")
    assert (await environments.resolve("bare")).versions == {"dask": "2026.8.0", "distributed": "2026.8.0"}
    assert len(runs.pythons) == 2
    await environments.resolve("bare")
    assert len(runs.pythons) == 2
    await environments.list(refresh=True)
    assert len(runs.pythons) == 3


async def test_the_variables_of_a_kernelspec_count(
    add_kernelspec: AddKernelspec, bare_venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LCG", str(tmp_path / "view"))
    for package in ("dask", "distributed"):  # as software on /cvmfs comes: modules on PYTHONPATH, no metadata
        (tmp_path / "view" / package).mkdir(parents=True)
        (tmp_path / "view" / package / "__init__.py").touch()
    add_kernelspec("lcg", [str(bare_venv), *IPYKERNEL], env={"PYTHONPATH": "${LCG}"})
    environments = Environments()
    environment = await environments.resolve("lcg")
    assert environment.versions == {"dask": "unknown", "distributed": "unknown"}
    assert environments.variables("lcg") == {"PYTHONPATH": str(tmp_path / "view")}
    assert environments.variables("unheard-of") == {}


# ---------------------------------------------------------------- kernelspecs that are wrong
async def test_other_languages_are_left_out(add_kernelspec: AddKernelspec) -> None:
    add_kernelspec("ir", ["R", "--slave"], language="R")
    add_kernelspec("upper", [sys.executable, *IPYKERNEL], language="Python")
    names = [e.name for e in await Environments().list()]
    assert "ir" not in names
    assert "upper" in names


async def test_a_kernelspec_whose_python_is_gone_says_so(add_kernelspec: AddKernelspec, tmp_path: Path) -> None:
    add_kernelspec("gone", [str(tmp_path / "no" / "bin" / "python"), *IPYKERNEL])
    environment = await named("gone")
    assert not environment.usable
    assert "No such file" in (environment.problem or "")
    assert "jupyter kernelspec remove gone" in (environment.hint or "")


async def test_a_kernel_json_that_cannot_be_read_says_which(add_kernelspec: AddKernelspec) -> None:
    file = add_kernelspec("broken", ["python"])
    file.write_text("{")
    environment = await named("broken")
    assert not environment.usable
    assert str(file) in (environment.hint or "")


async def test_a_script_that_hides_its_python_is_said_not_guessed(add_kernelspec: AddKernelspec) -> None:
    add_kernelspec("script", ["/opt/setup/run-kernel.sh", "-f", "{connection_file}"])
    environment = await named("script")
    assert not environment.usable
    assert "/opt/setup/run-kernel.sh" in (environment.problem or "")
    assert "path of its Python" in (environment.hint or "")


async def test_a_python_that_hangs_is_given_up_and_ended(
    add_kernelspec: AddKernelspec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "python3"
    pid = tmp_path / "pid"
    stuck.write_text(f"#!/bin/sh\nsleep 3600 &\necho $! > {pid}\nwait\n")
    stuck.chmod(0o755)
    monkeypatch.setattr(module, "TIMEOUT_S", 3.0)
    add_kernelspec("stuck", [str(stuck), *IPYKERNEL])
    environment = await named("stuck")
    assert "did not answer within 3 s" in (environment.problem or "")
    assert environment.hint
    with contextlib.suppress(psutil.NoSuchProcess):  # its child too; whoever inherits it may not reap it
        child = psutil.Process(int(pid.read_text()))
        async with asyncio.timeout(10):
            while child.status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("body", "said"), [("exit 3", "exit status 3, it said nothing"), ("echo oops; exit 1", "oops")]
)
async def test_what_is_no_python_is_quoted(body: str, said: str, tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text(f"#!/bin/sh\n{body}\n")
    other.chmod(0o755)
    assert said in (await unusable(str(other))).message


async def test_a_python_that_talks_first_is_understood(bare_venv: Path) -> None:
    packages = next((bare_venv.parent.parent / "lib").glob("python*/site-packages"))
    (packages / "sitecustomize.py").write_text("print('welcome to the facility')\n")
    assert "'distributed'" in (await unusable(str(bare_venv))).message


async def test_at_most_two_are_asked_at_once(add_kernelspec: AddKernelspec, bare_venv: Path, runs: CountedRuns) -> None:
    for number in range(5):
        add_kernelspec(f"k{number}", [str(bare_venv), *IPYKERNEL], env={"NUMBER": str(number)})
    await Environments().list()
    assert len(runs.pythons) == 5
    assert runs.most_at_once == 2


async def test_no_secret_of_the_session_reaches_a_python(
    bare_venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "s3cret")
    packages = next((bare_venv.parent.parent / "lib").glob("python*/site-packages"))
    seen = tmp_path / "seen"
    (packages / "sitecustomize.py").write_text(f"import os; open({str(seen)!r}, 'w').write(repr(dict(os.environ)))\n")
    await unusable(str(bare_venv))
    assert "s3cret" not in seen.read_text()


# ---------------------------------------------------------------- names and paths
async def test_an_unknown_name_lists_those_there_are(add_kernelspec: AddKernelspec) -> None:
    add_kernelspec("analysis", ["python", *IPYKERNEL])
    for wanted in ("analisys", "/no/such/python", "~nobody-at-all/python", "bin/python"):
        with pytest.raises(NotFound) as caught:
            await Environments().resolve(wanted)
        assert caught.value.code is ProblemCode.unknown_environment
        assert wanted in caught.value.message
        assert "analysis" in (caught.value.hint or "")
        assert "absolute path" in (caught.value.hint or "")


async def test_a_path_may_be_the_python_or_its_virtual_environment(bare_venv: Path) -> None:
    install(bare_venv, "distributed", "2026.8.0")
    install(bare_venv, "dask", "2026.8.0")
    for wanted in (bare_venv, bare_venv.parent.parent):
        environment = await Environments().resolve(str(wanted))
        assert environment.python == str(bare_venv)
        assert not environment.default


async def test_a_file_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("")
    error = await unusable(str(tmp_path / "python"))
    assert "Permission denied" in error.message
    assert "path of a Python" in (error.hint or "")
