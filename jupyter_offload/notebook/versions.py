"""Whether this kernel can work with a cluster, before anything is sent there."""

from __future__ import annotations

import json
import platform
import warnings
from collections.abc import Mapping
from pathlib import Path

from ..api.models import Connection
from ..api.problems import BadInput, ProblemCode

_PACKAGES = ("dask", "distributed")


def check(connection: Connection) -> None:
    """Compare this kernel with the scheduler, as the scheduler wrote beside its address.

    Warns when ``dask`` or ``distributed`` differ: mostly it works, and when it does not, errors do not name the reason.

    Raises:
        BadInput: the Pythons differ, so that no function can be sent; the message names both.
    """
    theirs = _versions(Path(connection.connection_file))
    own = platform.python_version()
    wanted = theirs.get("python", own)
    if _minor(wanted) != _minor(own):
        raise BadInput(
            ProblemCode.environment_unusable,
            f"This kernel has Python {own}, and the cluster {connection.name!r} has {wanted}: functions cannot be sent from"
            " one to the other.",
            field="environment",
            hint="Make the cluster with the environment of this kernel, which is what new_cluster() does by itself, or work in a"
            f" kernel with Python {_minor(wanted)}.",
        )
    differing = [name for name in _PACKAGES if theirs.get(name, _own(name)) != _own(name)]
    if differing:
        words = ", ".join(
            f"{name} {_own(name)} where the cluster {connection.name!r} has {theirs[name]}" for name in differing
        )
        from distributed.versions import VersionMismatchWarning

        warnings.warn(
            f"This kernel has {words}. Mostly that works; errors that make no sense come from it. Make the cluster with the"
            " environment of this kernel.",
            VersionMismatchWarning,
            stacklevel=2,
        )


def _versions(file: Path) -> Mapping[str, str]:
    try:
        told = json.loads(file.read_text(encoding="utf-8")).get("versions", {})
    except (OSError, ValueError, AttributeError):  # connecting says what is wrong
        return {}
    return told if isinstance(told, dict) else {}


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _own(package: str) -> str:
    import dask
    import distributed

    return str({"dask": dask, "distributed": distributed}[package].__version__)
