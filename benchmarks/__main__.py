"""``python -m benchmarks [PART ...] [--rounds N]``: tables on stdout, progress on stderr, both kept in ``results/``.

Nothing heavy is imported here: worker processes that a LocalCluster spawns import this module again.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen parts; exit code 1 when anything failed to be measured (an unmet goal is no failure)."""
    from .parts import PARTS, load
    from .report import machine, markdown, write

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0], formatter_class=argparse.RawTextHelpFormatter,
        epilog="parts:\n" + "\n".join(f"  {name:12} {what}" for name, what in PARTS.items()),
    )  # fmt: skip
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to measure; all when none is named")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds, after one that warms up (default 5)")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.parts if name not in PARTS]:
        parser.error(f"part {unknown[0]!r} is unknown; choose from {', '.join(PARTS)}")
    if given.rounds < 1:
        parser.error(f"--rounds {given.rounds} is below 1; write for example --rounds 5")

    # Ended from outside, it ends what it started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    about, results = machine(), []
    for name in given.parts or PARTS:
        print(f"{name}: {PARTS[name]}", file=sys.stderr, flush=True)
        results.append(load(name)(given.rounds, lambda line: print(line, file=sys.stderr, flush=True)))
    print(markdown(about, results))
    print(f"Written to {write(about, results)}", file=sys.stderr)
    return 1 if any(result.failures for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
