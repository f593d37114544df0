"""What a process may use: the smallest of the machine, its affinity and every control group above it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_offload import machine
from jupyter_offload.keeper import local_site

GIB = 2**30


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


class Groups:
    """A tree of control groups as the kernel shows it."""

    def __init__(self, root: Path, membership: str) -> None:
        self.root = root
        self.membership = root / "membership"
        self.membership.write_text(membership)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")

    def cores(self) -> int:
        return machine.usable_cores(self.root, self.membership)

    def memory(self) -> int:
        return machine.usable_memory_bytes(self.root, self.membership)


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    groups = Groups(tmp_path, "0::/user.slice\n")
    groups.write("user.slice/cpu.max", "max 100000")
    groups.write("user.slice/memory.max", "max")
    assert (groups.cores(), groups.memory()) == (8, psutil.virtual_memory().total)
    assert machine.usable_cores(tmp_path / "absent", tmp_path / "absent") == 8


def test_version_2_limits_of_any_level_count(tmp_path: Path) -> None:
    groups = Groups(tmp_path, "0::/user.slice/session.scope\n")
    groups.write("user.slice/cpu.max", "250000 100000")
    groups.write("user.slice/session.scope/cpu.max", "400000 100000")
    groups.write("user.slice/session.scope/memory.max", str(3 * GIB))
    groups.write("user.slice/memory.high", str(2 * GIB))
    assert (groups.cores(), groups.memory()) == (2, 2 * GIB)


def test_version_1_limits_and_a_container_that_shows_only_its_root(tmp_path: Path) -> None:
    groups = Groups(tmp_path, "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n")
    groups.write("memory/memory.limit_in_bytes", str(GIB))
    groups.write("cpu,cpuacct/cpu.cfs_quota_us", "150000")
    groups.write("cpu,cpuacct/cpu.cfs_period_us", "100000")
    assert (groups.cores(), groups.memory()) == (1, GIB)
    groups.write("memory/memory.limit_in_bytes", "9223372036854771712")
    groups.write("cpu,cpuacct/cpu.cfs_quota_us", "-1")
    assert (groups.cores(), groups.memory()) == (8, psutil.virtual_memory().total)


def test_less_than_one_core_is_one_worker(tmp_path: Path) -> None:
    groups = Groups(tmp_path, "0::/\n")
    groups.write("cpu.max", "20000 100000")
    assert groups.cores() == 1


@pytest.mark.parametrize(
    ("cores", "gib", "expected"),
    [
        (1, 64, [("small", 1, 4, 4)]),
        (2, 24, [("small", 1, 4, 4), ("medium", 2, 8, 4)]),
        (16, 256, [("small", 1, 4, 32), ("medium", 2, 8, 16), ("large", 4, 16, 8)]),
    ],
)
def test_profiles_fit_the_machine(cores: int, gib: int, expected: list[tuple[str, int, int, int]]) -> None:
    site = local_site.definition(cores, gib * GIB)
    assert [(p.name, p.cores, p.memory_bytes // GIB, p.maximum_workers) for p in site.profiles] == expected
    assert site.default_profile == "small"
    assert all(p.idle_timeout_s == 3600 and not p.lifetime_s for p in site.profiles)


@given(st.integers(1, 512), st.integers(2**26, 2**44))
def test_one_worker_for_each_core_leaves_room_for_the_rest(cores: int, memory: int) -> None:
    for profile in local_site.definition(cores, memory).profiles:
        assert profile.cores <= cores
        assert profile.memory_bytes >= 2**20
        assert profile.memory_bytes <= 4 * GIB * profile.cores
        together = profile.memory_bytes * (cores // profile.cores)
        assert together <= 0.85 * memory or profile.memory_bytes == 2**20
        assert profile.maximum_workers >= 4
        assert profile.maximum_cores == cores
        assert profile.maximum_memory_bytes == memory
