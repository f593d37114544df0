"""Add up JUnit result files: ``python tools/count_tests.py FILE...`` prints one line for people and machines."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter


def main(paths: list[str]) -> None:
    """Print how many tests passed, failed and were skipped."""
    counts: Counter[str] = Counter()
    for path in paths:
        for case in ElementTree.parse(path).iter("testcase"):  # noqa: S314  (our own runners wrote it)
            outcomes = {child.tag for child in case}
            counts["failed" if outcomes & {"failure", "error"} else "skipped" if "skipped" in outcomes else "passed"] += 1
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")


if __name__ == "__main__":
    main([path for path in sys.argv[1:] if "*" not in path])
