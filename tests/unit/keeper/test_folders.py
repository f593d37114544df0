"""What the supervisor is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jupyter_offload.keeper.folders import launch_document
from jupyter_offload.keeper.store import Record

MIB = 2**20


@pytest.mark.parametrize(
    ("env", "trim_bytes", "mmap_bytes"),
    [
        ({}, 16 * MIB, 16 * MIB),
        ({"MALLOC_TRIM_THRESHOLD_": "65536"}, 65536, 16 * MIB),
        ({"MALLOC_TRIM_THRESHOLD_": "1", "MALLOC_MMAP_THRESHOLD_": "0"}, 1, 0),
    ],
)
def test_the_allocator_is_ours_or_as_the_user_says(
    make_record: Callable[..., Record], env: dict[str, str], trim_bytes: int, mmap_bytes: int
) -> None:
    worker = launch_document(make_record(spec_changes={"env": env}), 2, {})["worker"]
    assert (worker["malloc_trim_bytes"], worker["malloc_mmap_bytes"]) == (trim_bytes, mmap_bytes)
