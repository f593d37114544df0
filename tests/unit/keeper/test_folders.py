"""What the supervisor is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_offload.keeper.folders import launch_document
from jupyter_offload.keeper.relay.settings import Identity, RelayUse
from jupyter_offload.keeper.store import Record
from jupyter_offload.keeper.zygotes import Interpreter, zygote_key
from jupyter_offload.relay import bundle

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


def test_a_relay_is_told_of_where_there_is_one(make_record: Callable[..., Record]) -> None:
    assert launch_document(make_record(), 0, {})["relay"] is None
    use = RelayUse(
        embedded=False, addresses=["a.test:1"], domain="a.test", ca_file="/a/ca.pem", admission="/secret.sock", lease_s=60,
        resume_s=30, identity=Identity(token_file="/secret"),
    )  # fmt: skip
    told = launch_document(make_record(relay=use), 0, {})["relay"]
    assert told == {"addresses": ["a.test:1"], "domain": "a.test", "ca_file": "/a/ca.pem", "resume_s": 30}


def test_a_changed_file_of_ours_means_another_zygote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = tmp_path / "names.py"
    ours.write_text("one")
    monkeypatch.setattr(bundle, "files", lambda: [ours])
    interpreter = Interpreter(sys.executable)
    before = zygote_key(interpreter)
    assert zygote_key(interpreter) == before
    ours.write_text("another")
    assert zygote_key(interpreter) != before
