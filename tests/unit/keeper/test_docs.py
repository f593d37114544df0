"""Every code that a user can meet is explained."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from jupyter_offload.api.models import ReasonCode
from jupyter_offload.api.problems import ProblemCode

DOCS = Path(__file__).parents[3] / "docs" / "reference"


@pytest.mark.parametrize(("page", "codes"), [("reasons.md", ReasonCode), ("errors.md", ProblemCode)])
def test_every_code_has_an_entry_and_nothing_else_has(page: str, codes: type[StrEnum]) -> None:
    entries = re.split(r"^### ", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]
    written = {
        e.split("\n", 1)[0]: re.sub(r"^## .*", "", e.split("\n", 1)[1], flags=re.MULTILINE).strip() for e in entries
    }
    assert set(written) == {c.value for c in codes}
    assert not [code for code, text in written.items() if len(text) < 40]
