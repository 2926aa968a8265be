"""Amounts of memory as people write and read them: "512M", "1.5 GB"."""

from __future__ import annotations

import re

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?\s*", re.IGNORECASE)


def parse_bytes(text: int | str) -> int:
    """Bytes from a number or a text such as "512M", "512MB", "512MiB" or "1.5g" (K, M, G, T count in 1024s).

    Raises ValueError with a sentence for anything else, and for less than one byte.
    """
    if isinstance(text, int):
        size = text
    else:
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not an amount of memory; write bytes or, for example, 512M or 2G")
        size = int(float(match.group(1)) * _UNITS[match.group(2).upper()])
    if not 1 <= size < 1 << 63:
        raise ValueError(f"an amount of memory must be at least one byte and below 2^63, got {text!r}")
    return size


def format_bytes(size: float) -> str:
    """For people: "812 bytes", "4.0 MB", "1.3 GB" (1 MB = 1024 kB = 1048576 bytes)."""
    if size < 1024:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1024
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if size >= 100 else f"{size:.1f} {unit}"
    raise AssertionError("unreachable")
