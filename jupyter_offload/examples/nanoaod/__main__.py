"""``python -m jupyter_offload.examples.nanoaod OUT_DIR``: paths on stdout, progress on stderr.

Exit codes: 0 done, 1 could not write, 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import SampleExists, make
from .sample import COMPRESSION_LEVELS, FORMATS, Sample


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jupyter_offload.examples.nanoaod",
        description="Write a seeded NanoAOD-like sample with a Z -> mu mu peak. Files already complete are kept.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", metavar="OUT_DIR", help="folder of the files; made if missing")
    parser.add_argument("--events", type=int, default=Sample.events, help="in all files together")
    parser.add_argument("--files", type=int, default=Sample.files, help="number of files")
    parser.add_argument("--format", default=Sample.format, help=" or ".join(FORMATS))
    parser.add_argument("--compression", default=Sample.compression, metavar="NAME[:LEVEL]",
                        help=f"one of {', '.join([*COMPRESSION_LEVELS, 'none'])}")  # fmt: skip
    parser.add_argument("--seed", type=int, default=Sample.seed, help="same seed, same events")
    parser.add_argument(
        "--z-fraction", type=float, default=Sample.z_fraction, help="part of the events with a Z, 0 to 1"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that hold another sample")
    return parser


def _show(name: str, done: int, events: int) -> None:
    """One line a file: rewritten in place on a terminal, printed once complete elsewhere."""
    on_terminal = sys.stderr.isatty()
    if on_terminal or done == events:
        start, end = ("\r", "\n" if done == events else "") if on_terminal else ("", "\n")
        print(f"{start}{name}: {done:,} of {events:,} events", end=end, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    folder, overwrite = given.pop("folder"), given.pop("overwrite")
    try:
        Sample(**given)
    except ValueError as error:
        parser.error(str(error))
    try:
        paths = make(folder, overwrite=overwrite, progress=_show, **given)
    except (OSError, ModuleNotFoundError) as error:
        print(f"Cannot write the sample to {folder}: {error}", file=sys.stderr)
        return 1
    except SampleExists as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; files already complete are kept.", file=sys.stderr)
        return 130
    print(*paths, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
