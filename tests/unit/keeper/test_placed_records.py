"""Clusters of the pod that a keeper had before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jupyter_offload.api import locations
from jupyter_offload.keeper.lifecycle import Sight
from jupyter_offload.keeper.schedulers import Schedulers
from jupyter_offload.keeper.store import Record


@pytest.mark.parametrize(
    ("placed", "container", "gone"),
    [(True, "pid:[of-the-pod-before]", True), (False, "pid:[of-another]", False), (True, None, False)],
)
async def test_what_was_in_the_pod_before_is_gone(
    make_record: Callable[..., Record], monkeypatch: pytest.MonkeyPatch, placed: bool, container: str | None, gone: bool
) -> None:
    if placed:
        monkeypatch.setenv(locations.ADDRESS, "10.0.0.7")
    changes = {"container_id": container} if container else {}
    record = make_record(host=locations.host_name(), launched_at=1.0, **changes)
    # the others are looked for, as ever
    assert ((await Schedulers().look(record)).sight is Sight.host_restarted) is gone
