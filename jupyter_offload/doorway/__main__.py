"""``python -m jupyter_offload.doorway [--detach]``: be where the keeper would be, which is in a pod of its own."""

from __future__ import annotations

import argparse
import os
import sys

from ..keeper import daemon


def main(arguments: list[str] | None = None) -> int:
    """Run the doorway until nobody asks; 0 also when another one, or a keeper, runs already."""
    parser = argparse.ArgumentParser(prog="python -m jupyter_offload.doorway", description=__doc__)
    parser.add_argument("--detach", action="store_true", help="run in the background, as whoever needs it starts it")
    chosen = parser.parse_args(arguments)
    os.umask(0o077)
    if chosen.detach and not daemon.detach():
        return 0
    from ..api import locations

    daemon.log_to(locations.doorway_log_path() if chosen.detach else None)
    held = daemon.lock(locations.lock_path(), locations.socket_path())
    if held is None:
        return 0
    from .app import run  # the heavy part, only for the one that won

    run()
    held.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
