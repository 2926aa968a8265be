"""Amounts of memory, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimo_rt.sizes import format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 << 20),
        ("2G", 2 << 30),
        ("1.5 gb", 3 << 29),
        ("10KiB", 10240),
        ("7", 7),
        (7, 7),
        ("1t", 1 << 40),
    ],
)
def test_parse(text: int | str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "0", 0, -5, "1X", "1e9", "nan", "1 2", "99999999999G"])
def test_parse_refuses(text: int | str) -> None:
    with pytest.raises(ValueError, match="amount of memory"):
        parse_bytes(text)


def test_format() -> None:
    assert format_bytes(812) == "812 bytes"
    assert format_bytes(4 << 20) == "4.0 MB"
    assert format_bytes(212 << 20) == "212 MB"
    assert format_bytes(5000 << 30) == "5000 GB"


@given(st.integers(1, 1 << 50))
def test_written_sizes_read_back_nearly(size: int) -> None:
    text = format_bytes(size).removesuffix(" bytes")
    assert parse_bytes(text) == pytest.approx(size, rel=0.06)
