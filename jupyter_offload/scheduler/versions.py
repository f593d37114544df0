"""Which versions of what must fit between scheduler, workers and clients, and what to say when they do not.

Tasks travel as pickles of functions, and Dask's messages are no stable protocol: with another Python, ``dask`` or ``distributed``
work fails in ways that name none of them. Travels to sites as well, so it keeps to Python 3.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Must be equal; of Python the first two numbers.
STRICT = ("python", "dask", "distributed")
#: May differ: mostly it works.
WATCHED = ("cloudpickle", "msgpack", "numpy", "pandas")
NAMES = (*STRICT, "tornado", *WATCHED)


def brief(announced: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the versions that matter, by name, out of what Dask's processes tell each other of themselves."""
    packages = (announced or {}).get("packages") or {}
    found = {name: str(packages[name]) for name in NAMES if packages.get(name)}
    if "python" in found:
        found["python"] = ".".join(found["python"].split(".")[:3])  # 3.11.7.final.0
    return found


def conflicts(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Return the names whose versions cannot work together. What nobody told is no conflict."""
    return [name for name in STRICT if name in theirs and name in ours and _of(theirs, name) != _of(ours, name)]


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Return the names whose versions differ where that mostly works, the smallest differences of Python left out."""
    return [name for name in WATCHED if name in ours and theirs.get(name) != ours[name]]


def compared(names: list[str], theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Return words such as ``Python 3.12.1 where the scheduler has 3.11.7``."""
    return ", ".join(
        f"{_title(name)} {theirs.get(name, 'is missing')} where the scheduler has {ours[name]}" for name in names
    )


def pip_line(python: str, names: list[str], ours: Mapping[str, str]) -> str:
    """Return the command that installs the scheduler's versions."""
    return " ".join([python, "-m pip install", *(f"{name}=={ours[name]}" for name in names)])


def _of(versions: Mapping[str, str], name: str) -> str:
    version = versions[name]
    return ".".join(version.split(".")[:2]) if name == "python" else version


def _title(name: str) -> str:
    return "Python" if name == "python" else name
