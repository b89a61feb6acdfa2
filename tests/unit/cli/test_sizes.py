"""Sizes as people write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubeward.cli.sizes import parse_size, size_text

GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("512", 512), ("1K", 1024), ("1k", 1024), ("1KiB", 1024), ("1kb", 1024),
        ("10G", 10 * GIB), ("10 GiB", 10 * GIB), ("1.5G", 3 * GIB // 2), ("0.5K", 512),
        ("7E", 7 << 60), ("512B", 512), (" 2T ", 2 << 40),
    ],
)  # fmt: skip
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == (False, size)
    assert parse_size(f"+{text.strip()}") == (True, size)


@pytest.mark.parametrize(
    "text",
    ["", "G", "-1", "1Z", "1 0", "1,5G", "0x10", "1e3", "8E", "9" * 30, "1GG", "٣", "+", "+-1"],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|larger"):
        parse_size(text)


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        more, size = parse_size(text)
    except ValueError:
        return
    assert isinstance(more, bool)
    assert 0 <= size < 1 << 63


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (2 * GIB, "2 GiB"),
        (10 * GIB, "10 GiB"), (1000 << 20, "1000 MiB"), ((1 << 63) - 1, "8 EiB"),
        (123_456_789, "118 MiB"),
    ],
)  # fmt: skip
def test_a_size_is_shown_with_the_largest_unit_that_fits(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.integers(0, (1 << 63) - 1))
def test_what_is_shown_is_near_what_it_is(size: int) -> None:
    _, shown = parse_size(size_text(size).replace("8 EiB", "7.99 EiB"))
    assert abs(shown - size) <= size * 0.006 + 1
