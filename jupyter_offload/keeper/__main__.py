"""``python -m jupyter_offload.keeper [--detach]``: run the keeper of this user, host and Jupyter data dir."""

from __future__ import annotations

import argparse
import os
import sys

from . import daemon


def main(arguments: list[str] | None = None) -> int:
    """Run the keeper until it has nothing to do; 0 also when another one runs already."""
    parser = argparse.ArgumentParser(prog="python -m jupyter_offload.keeper", description=__doc__)
    parser.add_argument("--detach", action="store_true", help="run in the background, as every door starts it")
    chosen = parser.parse_args(arguments)
    os.umask(0o077)
    if chosen.detach and not daemon.detach():
        return 0
    from ..api import locations

    daemon.log_to(locations.keeper_log_path() if chosen.detach else None)
    held = daemon.lock(locations.lock_path(), locations.socket_path())
    if held is None:
        return 0
    from .app import run  # the heavy part, only for the one that won

    run()
    held.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
