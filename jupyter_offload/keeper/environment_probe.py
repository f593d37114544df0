"""Says what a Python has. Run by that Python itself, from its source text, so nothing of ours enters its ``sys.path``.

Old Pythons run this too, to be told that they are old: no syntax newer than Python 3.4 here, and the standard library only.
"""

import json
import sys
from pathlib import Path

PACKAGES = ("dask", "distributed", "jupyter_offload")


def _version(name: str) -> "str | None":
    """Return a version, "unknown" for a module without metadata (a plain PYTHONPATH), None where there is none."""
    from importlib import metadata, util

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown" if util.find_spec(name) is not None else None


def collect() -> "dict[str, object]":
    """Return what was found as plain data."""
    found = {  # no annotation of variables either
        "python_version": "{}.{}.{}".format(*sys.version_info[:3]),
        "executable": sys.executable,
        "pip": True,
        "versions": {},
        "paths": [p for p in sys.path if p and Path(p).is_dir()],
    }
    try:
        from importlib import util

        versions = {name: _version(name) for name in PACKAGES}
        found["versions"] = {name: version for name, version in versions.items() if version is not None}
        found["pip"] = util.find_spec("pip") is not None
    except ImportError:  # before Python 3.8
        pass
    return found


if __name__ == "__main__":
    json.dump(collect(), sys.stdout)
