"""Add up what bin/test ran: ``python tools/count_tests.py FOLDER`` prints one line for people and machines.

The folder holds ``checks`` (lines ``ok NAME`` and ``failed NAME``) and, for each check that is a test suite, ``NAME.xml`` of
its own runner. A suite counts its tests, any other check counts as one; so does a suite that failed without a failed test.
Tests that passed when they were tried once more have passed.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path


def count(folder: Path) -> Counter[str]:
    """Return how many tests and checks passed, failed and were skipped."""
    total: Counter[str] = Counter()
    for line in (folder / "checks").read_text(encoding="utf-8").splitlines():
        verdict, _, name = line.partition(" ")
        tests: Counter[str] = Counter()
        report = folder / f"{name}.xml"
        if report.exists() and report.stat().st_size:
            for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  (our own runners wrote it)
                outcomes = {child.tag for child in case}
                failed = bool(outcomes & {"failure", "error"})
                tests["failed" if failed else "skipped" if "skipped" in outcomes else "passed"] += 1
        else:
            tests["passed"] += verdict == "ok"
        if verdict == "ok":  # what failed first passed when it was tried once more
            tests["passed"] += tests.pop("failed", 0)
        if verdict == "failed" and not tests["failed"]:
            tests["failed"] += 1
        total += tests
    return total


if __name__ == "__main__":
    counts = count(Path(sys.argv[1]))
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
