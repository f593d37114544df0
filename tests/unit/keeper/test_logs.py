"""Reading pieces of logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_offload.api.problems import NotFound
from jupyter_offload.keeper import logs


@pytest.fixture
def record(tmp_path: Path, make_record):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "w0.log").write_bytes(b"0123456789")
    return make_record(folder=str(tmp_path))


@pytest.mark.parametrize(
    ("offset", "limit", "text", "start", "following"),
    [
        (0, 4, "0123", 0, 4),
        (4, 100, "456789", 4, 10),
        (-3, 100, "789", 7, 10),
        (-300, 100, "0123456789", 0, 10),
        (10, 100, "", 10, 10),
        (99, 100, "", 10, 10),
        (None, 4, "6789", 6, 10),
        (0, 0, "0", 0, 1),
        (0, 2**40, "0123456789", 0, 10),
    ],
)
def test_pieces(record, offset, limit, text, start, following) -> None:
    chunk = logs.read(record, "w0", offset, limit)
    assert (chunk.text, chunk.offset, chunk.next_offset, chunk.size_bytes) == (text, start, following, 10)


def test_no_character_is_cut_in_two(record) -> None:
    text = "é" * 10 + "€" * 10 + "😀" * 10
    Path(record.folder, "logs", "w0.log").write_text(text)
    read, offset = "", 0
    while (chunk := logs.read(record, "w0", offset, 7)).text:
        assert "�" not in chunk.text
        read, offset = read + chunk.text, chunk.next_offset
    assert read == text


def test_foreign_bytes_are_shown_as_such(record) -> None:
    Path(record.folder, "logs", "w0.log").write_bytes(b"ok \xff\xfe")
    assert logs.read(record, "w0", 0, 100).text == "ok ��"


@pytest.mark.parametrize("name", ["w9", "../record.json", "..", ""])
def test_unknown_log_names_those_there_are(record, name: str) -> None:
    Path(record.folder, "record.json").write_text("secret")
    with pytest.raises(NotFound) as caught:
        logs.read(record, name, 0, 10)
    assert "w0" in (caught.value.hint or "")


def test_a_link_is_no_log(record) -> None:
    Path(record.folder, "logs", "w1.log").symlink_to("/etc/passwd")
    with pytest.raises(NotFound):
        logs.read(record, "w1", 0, 10)


def test_sources_in_order(record) -> None:
    for name in ("w10.log", "w2.log", "scheduler.log", "supervisor.log"):
        Path(record.folder, "logs", name).write_text("x")
    found = logs.sources(record).sources
    assert [s.name for s in found] == ["supervisor", "scheduler", "w0", "w2", "w10"]
    assert [s.role for s in found][:3] == ["supervisor", "scheduler", "worker"]


def test_none_yet(make_record, tmp_path) -> None:
    assert logs.sources(make_record(folder=str(tmp_path / "none"))).sources == []
