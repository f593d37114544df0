"""Amounts and durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_offload.api.units import format_bytes, format_duration, parse_bytes, parse_duration_s


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4 GiB", 4 * 2**30), ("4GiB", 4 * 2**30), (" 4 gib ", 4 * 2**30), ("4Gi", 4 * 2**30), ("512 MB", 512 * 10**6),
        ("512M", 512 * 10**6), ("1.5 GiB", 3 * 2**29), ("1024", 1024), ("7 B", 7), (17, 17), (2.0, 2),
        ("9007199254740993", 9007199254740993), ("4\u00a0GiB", 4 * 2**30), ("0", 0),
    ],
)  # fmt: skip
def test_amounts(text: object, value: int) -> None:
    assert parse_bytes(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30 min", 1800),
        ("2 h", 7200),
        ("1.5h", 5400),
        ("90", 90),
        ("90 s", 90),
        ("7 d", 604800),
        ("5 m", 300),
        (3.0, 3),
    ],
)
def test_durations(text: object, value: int) -> None:
    assert parse_duration_s(text) == value


@pytest.mark.parametrize(
    "value",
    [
        "banana",
        "",
        "GiB",
        "4 GiBit",
        "-4 GiB",
        "4 GiB 2",
        "1e3",
        "0x10",
        "٤ GiB",
        None,
        True,
        1.5,
        [],
        {},
        float("nan"),
    ],
)
def test_what_is_no_quantity_is_named_with_one_that_is(value: object) -> None:
    with pytest.raises(ValueError, match="is not an amount of memory; write for example '4 GiB'") as caught:
        parse_bytes(value)
    assert repr(value) in str(caught.value)
    with pytest.raises(ValueError, match="is not a duration; write for example '30 min'"):
        parse_duration_s(value)


@given(st.text() | st.floats() | st.integers() | st.booleans() | st.none())
def test_any_value_is_a_number_or_a_value_error(value: object) -> None:
    for parse in (parse_bytes, parse_duration_s):
        try:
            assert isinstance(parse(value), int)
        except ValueError as error:
            assert "write for example" in str(error)


@given(st.integers(0, 10**30 - 1), st.sampled_from(["", "B", "k", "KiB", "MB", "Gi", "T"]))
def test_whole_amounts_are_exact_however_large(number: int, unit: str) -> None:
    factor = parse_bytes(f"1 {unit}")
    assert parse_bytes(f"{number} {unit}") == number * factor


@given(st.integers(0, 2**53))
def test_what_is_shown_reads_back_as_nearly_the_same(value: int) -> None:
    shown = format_bytes(value)
    assert "e" not in shown
    assert parse_bytes(shown) == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1000 * 2**20, "1000 MiB"), (3 * 2**29, "1.5 GiB"), (2**42, "4 TiB"),
     (2**60, "1048576 TiB")],
)  # fmt: skip
def test_amounts_are_shown_short(value: int, shown: str) -> None:
    assert format_bytes(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (3900, "1 h 5 min"),
        (86400, "1 d"),
        (90061, "1 d 1 h"),
        (86460, "1 d 1 min"),
    ],
)
def test_durations_are_shown_short(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown
