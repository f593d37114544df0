"""``python -m jupyter_offload.keeper [--detach]``: run the keeper of this user, host and Jupyter data dir.

In a pod of its own it is run with ``--door`` and ``--owner`` (see ``doorway/pod.py``), in the foreground: its log is the pod's.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from . import daemon


def main(arguments: list[str] | None = None) -> int:
    """Run the keeper until it has nothing to do; 0 also when another one runs already."""
    parser = argparse.ArgumentParser(prog="python -m jupyter_offload.keeper", description=__doc__)
    parser.add_argument("--detach", action="store_true", help="run in the background, as every door starts it")
    parser.add_argument(
        "--door", type=Path, metavar="FOLDER", help="serve other hosts too, with the certificates there"
    )
    parser.add_argument("--port", type=int, help="of the door")
    parser.add_argument("--owner", help="the owner's id, where this data folder has none yet")
    chosen = parser.parse_args(arguments)
    os.umask(0o077)
    if chosen.detach and not daemon.detach():
        return 0
    from ..api import locations

    daemon.log_to(locations.keeper_log_path() if chosen.detach else None)
    held = daemon.lock(locations.lock_path(), locations.socket_path())
    if held is None:
        return 0
    try:
        if chosen.owner:
            locations.take_owner_id(chosen.owner)
        if chosen.door:
            from .door import PORT, open_door

            open_door(chosen.door, locations.socket_path(), (locations.kernel_address(), chosen.port or PORT))
    except (OSError, ValueError) as error:
        print(f"The keeper cannot be run in this pod: {error}", file=sys.stderr)
        return 1
    from .app import run  # the heavy part, only for the one that won

    run()
    held.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
