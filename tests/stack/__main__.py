"""Start and end parts of the test stack by hand, and build what they need."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType

from . import helm, oidc, whole
from .folders import locked, state_folder
from .golang import CannotBuild
from .processes import DidNotStart

PARTS: dict[str, ModuleType] = {"helm": helm, "kubernetes": whole, "oidc": oidc}


def main() -> int:
    """Do what the command line says; the last line that ``up`` prints is one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack", description=__doc__)
    parser.add_argument("action", choices=["built", "build", "up", "down"], help="built: exit status 0 if it is")
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("--folder", type=Path, help="where the part lives; default: below the user's cache folder")
    options = parser.parse_args()
    part = PARTS[options.part]
    folder = (options.folder or state_folder(options.part)).absolute()
    try:
        if options.action == "built":
            return 0 if part.built() else 1
        if options.action == "build":
            part.build()
            return 0
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder.with_name(f".{folder.name}.lock")):
            if options.action == "up":
                print(json.dumps(part.up(folder)))
            else:
                part.down(folder)
    except (CannotBuild, DidNotStart) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
