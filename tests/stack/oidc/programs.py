"""The provider's packages, of ``package-lock.json`` beside this file, once in the cache under its hash."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..folders import cache_folder, locked
from ..golang import CannotBuild

HERE = Path(__file__).parent
_FILES = ("package.json", "package-lock.json")
_TIMEOUT_S = 300


def modules() -> Path:
    """Return the folder that has them, or is to have them."""
    made_from = hashlib.sha256(b"|".join((HERE / name).read_bytes() for name in _FILES)).hexdigest()[:16]
    return cache_folder() / f"oidc-{made_from}"


def built() -> bool:
    """Tell whether they are there."""
    return modules().is_dir()


def build() -> None:
    """Install them if they are not there.

    Raises:
        CannotBuild: npm is missing, or it failed.
    """
    with locked(cache_folder() / "oidc.lock"):
        if built():
            return
        part = Path(tempfile.mkdtemp(prefix="oidc-", suffix=".part", dir=cache_folder()))
        try:
            for name in _FILES:
                shutil.copy(HERE / name, part)
            subprocess.run(
                ["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=part, check=True, timeout=_TIMEOUT_S
            )
            part.rename(modules())
        except (OSError, subprocess.SubprocessError) as error:
            raise CannotBuild(f"The packages of the OpenID Connect provider cannot be installed: {error}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
