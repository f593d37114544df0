"""The Pythons that clusters can run: those of the kernelspecs, and any other by its path."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..api.models import Environment
from ..api.problems import BadInput, NotFound, ProblemCode
from ..api.start import clean_environment
from . import environment_probe
from .kernelspecs import Candidate, python_candidates, same_interpreter

#: Longest wait for a Python to say what it has; one on a cold network file system is slow.
TIMEOUT_S = 20.0
PARALLEL_PROBES = 2
#: What a cluster's processes need.
MINIMUM_PYTHON = (3, 11)
MINIMUM_DISTRIBUTED = (2025, 3)

_PROBE_SOURCE = Path(environment_probe.__file__).read_bytes()


@dataclass(frozen=True)
class _Probed:
    """What a Python said of itself, or why it did not; ``stamps`` are the folders this depends on, with their times."""

    found: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    hint: str | None = None
    stamps: tuple[tuple[str, int], ...] = ()


class Environments:
    """Lists and resolves environments. A Python is asked once, and again when its site-packages changed."""

    def __init__(self) -> None:
        self._cache: dict[tuple[Any, ...], _Probed] = {}
        self._asking: dict[tuple[Any, ...], asyncio.Task[_Probed]] = {}
        self._slots = asyncio.Semaphore(PARALLEL_PROBES)
        self._variables: dict[str, dict[str, str]] = {}

    async def list(self, refresh: bool = False) -> builtins.list[Environment]:
        """Return every Python environment, usable or not, the default one first.

        Args:
            refresh: ask every Python again instead of answering from the cache.
        """
        if refresh:
            self._cache.clear()
        candidates = await asyncio.to_thread(_candidates)
        default = _default(candidates)
        environments = await asyncio.gather(*(self._environment(c, default=c is default) for c in candidates))
        return sorted(environments, key=lambda e: (not e.default, e.name))

    async def resolve(self, wanted: str | None) -> Environment:
        """Return a usable environment by the name of its kernelspec or the absolute path of its Python; None = the default.

        Raises:
            NotFound: there is none such (``unknown-environment``).
            BadInput: it cannot run a cluster (``environment-unusable``): the message says why, the hint how to mend it.
        """
        candidates = await asyncio.to_thread(_candidates)
        default = _default(candidates)
        candidate = default if wanted is None else next((c for c in candidates if c.name == wanted), None)
        if candidate is None:
            assert wanted is not None  # the default is always there
            candidate = await asyncio.to_thread(_by_path, wanted, candidates)
        environment = await self._environment(candidate, default=candidate is default)
        if not environment.usable:
            raise BadInput(
                ProblemCode.environment_unusable,
                f"Environment {environment.name!r} cannot run a cluster. {environment.problem}",
                field="environment",
                hint=environment.hint,
            )
        return environment

    def variables(self, name: str) -> dict[str, str]:
        """Return the environment variables that the kernelspec of a resolved environment sets, for its processes."""
        return dict(self._variables.get(name, {}))

    async def _environment(self, candidate: Candidate, *, default: bool) -> Environment:
        self._variables[candidate.name] = dict(candidate.env)
        if candidate.problem is not None:
            probed = _Probed(problem=candidate.problem, hint=candidate.hint)
        else:
            probed = await self._probed(candidate)
        problem, hint = (probed.problem, probed.hint) if probed.problem else _lacking(candidate.python, probed.found)
        return Environment(
            name=candidate.name,
            title=candidate.title,
            python=candidate.python,
            python_version=probed.found.get("python_version"),
            versions=dict(probed.found.get("versions", {})),
            usable=problem is None,
            problem=problem,
            hint=hint,
            default=default,
        )

    async def _probed(self, candidate: Candidate) -> _Probed:
        """Return what the Python said, from the cache where nothing changed; who asks at the same time shares the answer."""
        key = (candidate.python, tuple(sorted(candidate.env.items())))
        known = self._cache.get(key)
        if known is not None and known.stamps == await asyncio.to_thread(_stamps, [p for p, _ in known.stamps]):
            return known
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(candidate))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        probed = await asyncio.shield(task)
        if probed.stamps:
            self._cache[key] = probed
        return probed

    async def _ask(self, candidate: Candidate) -> _Probed:
        async with self._slots:
            found: Mapping[str, Any] | _Probed
            if not candidate.env and candidate.python == sys.executable:
                found = await asyncio.to_thread(environment_probe.collect)
            else:
                found = await _run(candidate)
        if isinstance(found, _Probed):
            return found
        stamps = await asyncio.to_thread(_stamps, [candidate.python, *found.get("paths", [])])
        return _Probed(found, stamps=stamps)


def _stamps(paths: builtins.list[str]) -> tuple[tuple[str, int], ...]:
    """Return the times of these folders; one that is gone has 0. Blocking."""
    stamps = []
    for path in paths:
        try:
            stamps.append((path, Path(path).stat().st_mtime_ns))
        except OSError:
            stamps.append((path, 0))
    return tuple(stamps)


async def _run(candidate: Candidate) -> Mapping[str, Any] | _Probed:
    """Run the probe in that Python; a ``_Probed`` says why there is no answer."""
    env = {k: v for k, v in clean_environment().items() if k != "PYTHONHOME"} | dict(candidate.env)
    try:
        process = await asyncio.create_subprocess_exec(
            candidate.python, "-", env=env, cwd="/", start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        hint = "Install it again, or remove the kernelspec: jupyter kernelspec remove " + shlex.quote(candidate.name)
        if candidate.name == candidate.python:
            hint = "Give the path of a Python that can be run."
        return _Probed(problem=f"Its Python {candidate.python} cannot be run: {error.strerror}.", hint=hint)
    try:
        out, err = await asyncio.wait_for(process.communicate(_PROBE_SOURCE), TIMEOUT_S)
    except TimeoutError:
        _end(process)
        await process.wait()
        hint = "Try again: its file system may be slow. If it stays so, run it by hand to see what it waits for."
        return _Probed(problem=f"{candidate.python} did not answer within {TIMEOUT_S:.0f} s.", hint=hint)
    except asyncio.CancelledError:
        _end(process)
        raise
    try:
        # a sitecustomize may print before us
        found = json.loads(out.decode(errors="replace").strip().splitlines()[-1])
        if isinstance(found, dict) and "python_version" in found:
            return found
    except (ValueError, IndexError):
        pass
    last = (err or out).decode(errors="replace").strip().splitlines()[-1:]
    said = last[0][:200] if last else "it said nothing"
    problem = f"{candidate.python} is no working Python: exit status {process.returncode}, {said}"
    return _Probed(problem=problem, hint=f"Run it by hand to see the fault: {shlex.quote(candidate.python)} -c ''")


def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a Python with all it started: a wrapper has the real one as its child."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _lacking(python: str, found: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return what keeps this Python from running a cluster, and the remedy."""
    version = str(found["python_version"])
    if _numbers(version) < MINIMUM_PYTHON:
        least = ".".join(map(str, MINIMUM_PYTHON))
        return (
            f"Python {version} is too old, clusters need {least} or newer.",
            f"Choose an environment with Python {least}.",
        )
    versions = found.get("versions", {})
    requirement = "distributed"
    problem = None
    if "distributed" not in versions:
        problem = "The package 'distributed' (Dask's scheduler and workers) is missing."
    elif "dask" not in versions:
        problem, requirement = "The package 'dask' is missing.", "dask"
    elif versions["distributed"] != "unknown" and _numbers(versions["distributed"]) < MINIMUM_DISTRIBUTED:
        least = ".".join(map(str, MINIMUM_DISTRIBUTED))
        problem = f"distributed {versions['distributed']} is too old, clusters need {least} or newer."
        requirement = f"distributed>={least}"
    if problem is None:
        return None, None
    quoted = shlex.quote(python)
    first = "" if found.get("pip", True) else f"{quoted} -m ensurepip && "
    return problem, f'{first}{quoted} -m pip install "{requirement}"'


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())


def _candidates() -> builtins.list[Candidate]:
    """Return the Pythons of all kernelspecs, and our own if it has none. Blocking."""
    found = python_candidates()
    if not any(same_interpreter(c.python, sys.executable) for c in found):
        found.append(Candidate(sys.executable, f"Python {sys.version.split()[0]} (Jupyter's own)", sys.executable))
    # one spelling, so that the default is recognised and asked within this process
    return [
        Candidate(c.name, c.title, sys.executable, c.env) if same_interpreter(c.python, sys.executable) else c
        for c in found
    ]


def _default(candidates: builtins.list[Candidate]) -> Candidate:
    """Return the environment of the keeper's own Python: the plainest kernelspec of it."""
    own = [c for c in candidates if c.python == sys.executable]
    return min(own, key=lambda c: (bool(c.env), c.name != "python3", c.name))


def _by_path(wanted: str, candidates: builtins.list[Candidate]) -> Candidate:
    """Return the Python at a path, which may be the folder of its virtual environment. Blocking.

    Raises:
        NotFound: it is no absolute path, or there is nothing to run.
    """
    path = Path(wanted)
    with contextlib.suppress(RuntimeError):  # ~somebody who does not exist
        path = path.expanduser()
    known = ", ".join(c.name for c in candidates)
    hint = f"Environments here: {known}. Or give the absolute path of a Python."
    if not path.is_absolute():
        raise NotFound(
            ProblemCode.unknown_environment, f"There is no environment {wanted!r}.", field="environment", hint=hint
        )
    if path.is_dir():
        path = path / "bin" / "python"
    if not path.is_file():
        message = f"There is no Python at {wanted}."
        raise NotFound(ProblemCode.unknown_environment, message, field="environment", hint=hint)
    if same_interpreter(str(path), sys.executable):
        path = Path(sys.executable)
    return Candidate(str(path), f"Python at {path}", str(path))
