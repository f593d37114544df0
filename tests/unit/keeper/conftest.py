"""A record to vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jupyter_offload.api.models import ClusterSpec, Profile, Reason, ReasonCode
from jupyter_offload.keeper.store import Record, boot_id, container_id

CREATED = 1_000_000.0


@pytest.fixture
def make_record() -> Callable[..., Record]:
    def make(**changes: Any) -> Record:
        spec = ClusterSpec(name=changes.pop("name", "zmumu"), workers=2)
        values: dict[str, Any] = {
            "id": "abcdef", "name": spec.name, "owner": "me", "requested": spec, "spec": spec, "site_title": "Here",
            "profile": Profile(name="small", cores=1, memory_bytes=2**30), "python": "/usr/bin/python3", "host": "here",
            "boot_id": boot_id(), "container_id": container_id(), "folder": "/nowhere/f", "runtime": "/nowhere/r",
            "spill": "/nowhere/s", "created_at": CREATED, "phase_since": CREATED,
            "reason": Reason(code=ReasonCode.accepted, message="Accepted."), "workers_requested": 2,
        }  # fmt: skip
        spec_changes = changes.pop("spec_changes", {})
        values |= changes
        values["spec"] = values["spec"].model_copy(update=spec_changes)
        return Record(**values)

    return make
