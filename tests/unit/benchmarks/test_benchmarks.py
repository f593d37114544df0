"""The arithmetic and the report of the benchmarks; what they measure is run by hand on a quiet machine."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import report, stats
from benchmarks.parts import PARTS, load
from benchmarks.workspace import PRISTINE, environment, until, workspace

ROOT = Path(__file__).parents[3]
numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@settings(deadline=None)
@given(numbers, st.floats(0, 1))
def test_quantile_is_numpys(values, fraction):
    assert stats.quantile(values, fraction) == pytest.approx(np.quantile(values, fraction), abs=1e-6)


@pytest.mark.parametrize(("values", "fraction"), [([], 0.5), ([1], -0.1), ([1], 1.1)])
def test_quantile_refuses(values, fraction):
    with pytest.raises(ValueError, match=r"no values|not between"):
        stats.quantile(values, fraction)


def test_summary():
    assert stats.summarise([5, 1, 3, 2, 4]) == stats.Summary(5, 3, 1, 5, 2, 4)


def test_ratios_are_of_the_same_round():
    assert stats.paired_ratios([1, 4], [2, 2]) == [0.5, 2]
    assert stats.median_ratio([1, 4, 9], [2, 2, 3]) == 2
    with pytest.raises(ValueError, match="cannot be paired"):
        stats.paired_ratios([1], [1, 2])
    with pytest.raises(ValueError, match="zero"):
        stats.paired_ratios([1], [0])


def test_rounds_are_interleaved_and_the_first_is_dropped():
    order, result = [], report.Result("x", {"s": "s"})

    def case(name):
        def run():
            order.append(name)
            return {"s": len(order)}

        return run

    report.interleave({"a": case("a"), "b": case("b")}, 2, result, lambda _: None)
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert result.values == {"a": {"s": [3, 6]}, "b": {"s": [4, 5]}}


def test_failed_case_is_noted_and_the_others_go_on():
    result = report.Result("x", {"s": "s"})

    def broken():
        raise RuntimeError("no\nserver")

    report.interleave({"good": lambda: {"s": 1.0}, "bad": broken}, 1, result, lambda _: None)
    assert result.median("good", "s") == 1
    assert result.median("bad", "s") is None
    assert result.failures == ["round 0, bad: RuntimeError: no server", "round 1, bad: RuntimeError: no server"]
    assert result.ratio("s", "bad", "good") is None
    result.goal("half", result.ratio("s", "bad", "good"), 0.5)
    assert result.failures[-1] == "half: not measured"


@pytest.mark.parametrize(
    ("value", "at_least", "met"),
    [(1, False, True), (2, False, True), (2.1, False, False), (2, True, True), (1, True, False)],
)
def test_goal(value, at_least, met):
    assert report.Goal("x", value, 2, at_least).met is met


def test_report_has_machine_tables_goals_and_failures(tmp_path):
    result = report.Result("Speed", {"time": "s"})
    for value in (1.0, 2.0, 3.0):
        result.add("ours", {"time": value})
    result.goal("time", 2.0, 1.5, unit="s")
    result.failures.append("round 1: gone")
    about = report.machine()
    text = report.markdown(about, [result])
    assert "| ours | 3 | 2 (1.5-2.5) |" in text
    assert "| time | 2 s | at most 1.5 s | **no** |" in text
    assert "- Failed: round 1: gone" in text
    assert f"distributed {about['versions']['distributed']}" in text
    path = report.write(about, [result], tmp_path)
    assert path.read_text() == text
    stored = json.loads(path.with_suffix(".json").read_text())
    assert stored["results"][0]["values"] == {"ours": {"time": [1.0, 2.0, 3.0]}}
    assert stored["machine"]["cores"] >= 1


@pytest.mark.parametrize("name", PARTS)
def test_every_part_loads(name):
    pytest.importorskip("uproot")
    assert callable(load(name))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["speed"], "part 'speed' is unknown; choose from start"), (["lag", "--rounds", "0"], "--rounds 0 is below 1")],
)
def test_wrong_arguments_are_named(arguments, message):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr


def test_command_module_imports_nothing_heavy():
    """A LocalCluster's workers import it again when they are spawned, which would be timed as theirs."""
    code = "import sys, benchmarks.__main__; print([m for m in ('distributed', 'psutil', 'httpx', 'numpy') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_workspace_ends_its_processes_and_folder():
    with workspace() as place:
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=place.environment)
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        until(lambda: [p.pid for p in place.processes()] == [process.pid], 10)
    try:
        assert process.poll() is not None  # psutil may have taken its exit status
        assert other.poll() is None
        assert not place.folder.exists()
    finally:
        other.kill()
        other.wait()


def test_until_gives_up():
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"nothing within 0\.05 s"):
        until(lambda: False, 0.05)
    assert time.monotonic() >= start + 0.05


def test_what_a_localcluster_leaves_in_the_environment_reaches_no_other_case(monkeypatch):
    """Dask's nannies set allocator variables in the process that starts them."""
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    assert "MALLOC_TRIM_THRESHOLD_" not in PRISTINE
    with workspace() as place:
        assert "MALLOC_TRIM_THRESHOLD_" not in place.environment
        with environment(place.environment):
            assert os.environ["JUPYTER_DATA_DIR"] == str(place.folder / "data")
            assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "65536"
    assert "JUPYTER_DATA_DIR" not in os.environ or os.environ["JUPYTER_DATA_DIR"] != str(place.folder / "data")
