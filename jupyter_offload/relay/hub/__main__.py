"""``python -m jupyter_offload.relay.hub FILE``: the relay by itself. What failed is on stderr, in sentences."""

from __future__ import annotations

import argparse
import asyncio
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .config import DEFAULT_FILE
from .mistakes import BadConfig
from .preflight import checked_config
from .service import serve


def main() -> int:
    """Run the relay; status 2 if its configuration has mistakes, 1 if something cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m jupyter_offload.relay.hub", description="Run a relay.")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help=f"configuration (default: {DEFAULT_FILE})")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the same")
    said = parser.parse_args()
    path = said.config or said.file or DEFAULT_FILE
    try:
        asyncio.run(serve(path, checked_config(path), own_version()))
    except BadConfig as error:
        for mistake in error.mistakes:
            print(f"{path}: {mistake}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"The relay cannot start: {error}.", file=sys.stderr)
        return 1
    return 0


def own_version() -> str:
    """Return the version of the package that this is in."""
    try:
        return version("jupyter_offload")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
