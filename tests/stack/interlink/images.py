"""What jobs of an image see of this machine."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

#: What programs of this machine need to run, besides their own folders.
SYSTEM = ("/bin", "/etc", "/lib", "/lib64", "/sbin", "/usr")


@dataclass(frozen=True)
class Image:
    """An image of the site, by which name it is known to pods.

    Attributes:
        env: variables of its jobs; ``PATH`` finds their commands.
        root: folders of this machine that its jobs see, read-only, besides their volumes, ``/proc``, ``/dev`` and an empty
            ``/tmp``; None = everything.
    """

    env: dict[str, str]
    root: tuple[str, ...] | None = None


def python_image(prefix: str = sys.prefix, *, alone: bool) -> Image:
    """Return an image with the Python environment in a folder, by default that of the tests.

    Args:
        prefix: of the environment.
        alone: whether jobs see nothing else: not these sources, no home, no file of a test.
    """
    env = {"PATH": f"{prefix}/bin:/usr/bin:/bin"}
    if not alone:
        return Image(env)
    # The environment's python is a link to the one it was made of, which may be a link itself.
    target = Path(os.path.realpath(f"{prefix}/bin/python")).parent.parent
    folders = dict.fromkeys([*SYSTEM, prefix, sys.base_prefix, str(target)])
    return Image(env, tuple(folder for folder in folders if Path(folder).exists()))
