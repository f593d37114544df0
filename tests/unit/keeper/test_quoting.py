"""A card has one line; it must be the one that helps."""

from __future__ import annotations

import pytest

from jupyter_offload.keeper.quoting import QUOTE_LENGTH, brief


@pytest.mark.parametrize(
    ("tail", "quoted"),
    [
        ("a\nb", "b"),
        ("  ImportError: x\n    ^^^^", "ImportError: x"),
        ("Traceback:\nmypkg.errors.BadError: x\n2026 - distributed - INFO - closing", "mypkg.errors.BadError: x"),
        ("first\n----", "first"),
    ],
)
def test_the_line_that_says_most_is_quoted(tail: str, quoted: str) -> None:
    assert brief(f"w0 died. Its log ends with:\n{tail}") == f"w0 died. Its log ends with: {quoted}"


def test_nothing_to_quote_is_left_out() -> None:
    assert brief("w0 died. Its log ends with:\n\n") == "w0 died."
    assert brief("One\n  two.") == "One two."


def test_a_long_line_is_shortened() -> None:
    said = brief("w0 died. Its log ends with:\nValueError: " + "x" * 1000)
    assert said.endswith("…") and len(said) == len("w0 died. Its log ends with: ") + QUOTE_LENGTH
