"""Which Python a kernelspec runs. Its command may be a Python, a Python behind ``env`` or ``conda run``, or any script."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from jupyter_client.kernelspec import KernelSpecManager

from ..api.start import clean_environment

log = logging.getLogger(__name__)

_PYTHON = re.compile(r"(pypy|python)[0-9.]*\Z")
_CONDA = {"conda", "mamba", "micromamba", "conda.exe"}
_PREFIX_OPTIONS = ("-p", "--prefix")
_NAME_OPTIONS = ("-n", "--name")


@dataclass(frozen=True)
class Candidate:
    """The Python of one kernelspec before anybody looked at it; ``problem`` where it has none that can be told."""

    name: str
    title: str
    python: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None
    hint: str | None = None


class _Untold(Exception):
    """The command does not show which Python it ends up with."""


def python_candidates() -> list[Candidate]:
    """Return every kernelspec whose language is Python, and those that cannot be read. Blocking."""
    manager = KernelSpecManager(log=log)
    return [
        c for name, folder in sorted(manager.find_kernel_specs().items()) for c in _candidate(manager, name, folder)
    ]


def _candidate(manager: KernelSpecManager, name: str, folder: str) -> Iterator[Candidate]:
    try:
        spec = manager.get_kernel_spec(name)
        argv, language, env = [str(a) for a in spec.argv], str(spec.language), {**spec.env}
    except Exception as error:  # broken JSON, wrong types, gone meanwhile
        yield Candidate(
            name,
            name,
            problem=f"The kernelspec cannot be read: {error}",
            hint=f"Repair {Path(folder) / 'kernel.json'}, or remove it: jupyter kernelspec remove {name}",
        )
        return
    if language.lower() != "python":
        return
    title = str(spec.display_name) or name
    # as jupyter_client does: PATH may be "/opt/tool/bin:${PATH}", a command "{resource_dir}/start"
    env = {str(k): Template(str(v)).safe_substitute(clean_environment()) for k, v in env.items()}
    argv = [a.replace("{prefix}", sys.prefix).replace("{resource_dir}", folder) for a in argv]
    try:
        python, more = interpreter(argv, env)
    except _Untold as reason:
        hint = "Give the path of its Python as the environment instead."
        yield Candidate(name, title, env=env, problem=f"The kernelspec hides its Python: {reason}.", hint=hint)
        return
    yield Candidate(name, title, python, {**env, **more})


def interpreter(argv: list[str], env: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the Python that a kernel's command runs, and the variables that the command sets on its way there.

    Raises:
        _Untold: the command is a script or wrapper that does not show it.
    """
    if not argv:
        raise _Untold("its argv is empty")
    for unwrap in (_nb_conda, _env_command, _conda_run, _plain):
        found = unwrap(argv, env)
        if found is not None:
            return found
    raise _Untold(f"it runs {argv[0]!r}, which is no Python that is known")


_Found = tuple[str, dict[str, str]] | None


def _plain(argv: list[str], env: Mapping[str, str]) -> _Found:
    command = argv[0]
    base = Path(command).name
    if base == "xpython":  # xeus-python is a program of its own beside the environment's Python
        sibling = Path(_on_path(command, env)).with_name("python")
        return str(sibling), {}
    if not _PYTHON.match(base):
        return None
    if command in ("python", f"python{sys.version_info[0]}", "python{}.{}".format(*sys.version_info[:2])):
        return sys.executable, {}  # as jupyter_client does
    return _on_path(command, env), {}


def _on_path(command: str, env: Mapping[str, str]) -> str:
    if Path(command).is_absolute():
        return command
    return shutil.which(command, path=env.get("PATH")) or command


def _env_command(argv: list[str], env: Mapping[str, str]) -> _Found:
    """``env [-i] [-u NAME] A=1 python -m ...``: here ``python`` is looked up on the path, as env does."""
    if Path(argv[0]).name != "env":
        return None
    more: dict[str, str] = {}
    rest = argv[1:]
    while rest:
        word = rest.pop(0)
        if word in ("-u", "--unset") and rest:
            rest.pop(0)
        elif word.startswith("-"):
            if word not in ("-i", "-", "--ignore-environment") and not word.startswith("--unset="):
                raise _Untold(f"the option {word!r} of env is not understood")
        elif "=" in word:
            name, _, value = word.partition("=")
            more[name] = value
        else:
            seen = {**env, **more}
            python, inner = interpreter([_on_path(word, seen), *rest], seen)
            return python, {**more, **inner}
    raise _Untold("env runs nothing")


def _option(argv: list[str], names: tuple[str, ...]) -> str | None:
    for index, word in enumerate(argv):
        if word in names and index + 1 < len(argv):
            return argv[index + 1]
        for name in names:
            if name.startswith("--") and word.startswith(f"{name}="):
                return word.partition("=")[2]
    return None


def _conda_run(argv: list[str], env: Mapping[str, str]) -> _Found:
    """``conda run -p PREFIX python ...`` or ``-n NAME``."""
    if Path(argv[0]).name not in _CONDA or "run" not in argv[1:]:
        return None
    prefix = _option(argv, _PREFIX_OPTIONS)
    if prefix is None:
        name = _option(argv, _NAME_OPTIONS)
        if name is None:
            raise _Untold("conda run without -p or -n takes whichever environment is active")
        prefix = _conda_environment(_on_path(argv[0], env), name)
    return str(Path(prefix) / "bin" / "python"), {"CONDA_PREFIX": prefix}


def _conda_environment(conda: str, name: str) -> str:
    """Return the folder of a named environment: beside conda itself, or in the user's list of environments."""
    root = (
        os.environ.get("MAMBA_ROOT_PREFIX") or os.environ.get("CONDA_ROOT") or str(Path(conda).resolve().parent.parent)
    )
    if name in ("base", "root"):
        return root
    folders = [Path(root) / "envs" / name]
    try:
        known = (Path.home() / ".conda" / "environments.txt").read_text().splitlines()
        folders += [Path(line.strip()) for line in known if Path(line.strip()).name == name]
    except OSError:
        pass
    for folder in folders:
        if folder.is_dir():
            return str(folder)
    raise _Untold(f"no conda environment {name!r} was found")


def _nb_conda(argv: list[str], env: Mapping[str, str]) -> _Found:
    """``python -m nb_conda_kernels.runner CONDA_ROOT ENVIRONMENT python ...``."""
    if len(argv) >= 5 and argv[1:3] == ["-m", "nb_conda_kernels.runner"]:
        return str(Path(argv[4]) / "bin" / "python"), {"CONDA_PREFIX": argv[4]}
    return None


def same_interpreter(one: str, other: str) -> bool:
    """Tell whether two paths are one Python of one environment. A virtual environment differs from the Python it links to."""
    first, second = Path(one), Path(other)
    try:
        return first.parent.samefile(second.parent) and first.samefile(second)
    except OSError:
        return False
