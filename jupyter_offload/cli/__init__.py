"""The command ``jupyter offload``. Nothing but the parser is loaded before it is known what is to be done."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from .parser import build

#: Exit statuses; the same table is in ``docs/reference/cli.md``.
OK, FAILED, BAD_INPUT, NOT_FOUND, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Usage errors raise ``SystemExit(2)``."""
    arguments = build().parse_args(argv)
    module, function = arguments.run.split(":")
    command = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    if arguments.alone:
        return int(command(arguments))
    from . import running

    return running.run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
