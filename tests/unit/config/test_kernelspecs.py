"""Which Python a kernel's command ends up with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jupyter_offload.keeper.kernelspecs import _Untold, interpreter, same_interpreter

REST = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of programs: a Python and a conda with environments beside it."""
    for program in (
        "condabin/bin/conda",
        "condabin/envs/hep/bin/python",
        "bin/python3.11",
        "bin/xpython",
        "bin/python",
    ):
        file = tmp_path / program
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("command", ["python", "python3", "python{}.{}".format(*sys.version_info[:2])])
def test_a_bare_python_is_jupyters_own(command: str) -> None:
    assert interpreter([command, *REST], {}) == (sys.executable, {})


def test_a_path_is_taken_as_it_is_and_other_names_are_looked_up(tools: Path) -> None:
    assert interpreter(["/opt/x/bin/python3.12", *REST], {}) == ("/opt/x/bin/python3.12", {})
    (tools / "bin" / "python3.9").symlink_to("python3.11")
    assert interpreter(["python3.9", *REST], {"PATH": str(tools / "bin")}) == (str(tools / "bin" / "python3.9"), {})
    assert interpreter([str(tools / "bin" / "xpython"), *REST], {}) == (str(tools / "bin" / "python"), {})


def test_env_sets_variables_and_looks_on_the_path_that_it_sets(tools: Path) -> None:
    argv = ["/usr/bin/env", "-u", "PYTHONHOME", "OMP_NUM_THREADS=1", f"PATH={tools}/bin", "python", *REST]
    assert interpreter(argv, {}) == (
        str(tools / "bin" / "python"), {"OMP_NUM_THREADS": "1", "PATH": f"{tools}/bin"}
    )  # fmt: skip


def test_conda_run_by_prefix_and_by_name(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAMBA_ROOT_PREFIX", raising=False)
    prefix = str(tools / "condabin" / "envs" / "hep")
    found = (f"{prefix}/bin/python", {"CONDA_PREFIX": prefix})
    conda = str(tools / "condabin" / "bin" / "conda")
    assert interpreter([conda, "run", "-p", prefix, "--no-capture-output", "python", *REST], {}) == found
    assert interpreter([conda, "run", f"--prefix={prefix}", "python", *REST], {}) == found
    assert interpreter([conda, "run", "-n", "hep", "python", *REST], {}) == found
    base = str(tools / "condabin")
    assert interpreter([conda, "run", "--name", "base", "python", *REST], {})[0] == f"{base}/bin/python"
    with pytest.raises(_Untold, match="no conda environment 'lhc'"):
        interpreter([conda, "run", "-n", "lhc", "python", *REST], {})
    with pytest.raises(_Untold, match="whichever"):
        interpreter([conda, "run", "python", *REST], {})


def test_nb_conda_kernels() -> None:
    argv = ["python", "-m", "nb_conda_kernels.runner", "/opt/conda", "/opt/conda/envs/hep", "python", *REST]
    assert interpreter(argv, {}) == ("/opt/conda/envs/hep/bin/python", {"CONDA_PREFIX": "/opt/conda/envs/hep"})


@pytest.mark.parametrize(
    "argv",
    [[], ["bash", "-c", "exec python"], ["/opt/run.sh"], ["env", "-S", "python"], ["env", "A=1"], ["env", "bash"]],
)
def test_what_does_not_show_its_python_is_not_guessed(argv: list[str]) -> None:
    with pytest.raises(_Untold):
        interpreter(argv, {})


def test_virtual_environments_of_one_python_are_different(tmp_path: Path) -> None:
    real = Path(sys.executable).resolve()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "python").symlink_to(real)
        (tmp_path / name / "python3").symlink_to("python")
    (tmp_path / "link").symlink_to("a")
    a = str(tmp_path / "a" / "python")
    assert same_interpreter(a, str(tmp_path / "a" / "python3"))
    assert same_interpreter(a, str(tmp_path / "link" / "python"))
    assert not same_interpreter(a, str(tmp_path / "b" / "python"))
    assert not same_interpreter(a, str(tmp_path / "absent"))
