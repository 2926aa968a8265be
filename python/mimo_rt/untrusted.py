"""What other people wrote, read with care: files no longer than they may be, JSON that is an object, texts
that cannot play tricks on a terminal."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_TEXT = 1000
"""Characters of one text."""


def read_limited(path: Path, limit: int) -> bytes:
    """A regular file, whole. OSError where it cannot be read, ValueError with the reason where it is none or
    has more than `limit` bytes."""
    # A pipe could block for ever, even in being opened.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        # No more is asked for than there is: what is asked for is allocated at once.
        data = file.read(min(limit, status.st_size) + 1) if status.st_size <= limit else None
    if data is None or len(data) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    return data


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`; ValueError with the reason where it is none."""
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def plain(text: str) -> str:
    """One line of printable characters: no control characters, no changes of direction, no line breaks."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shown(text: str) -> str:
    """Lines for a terminal: what it would act on, and what is no text, stands there by its number."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def optional_text(entry: Mapping[str, Any], key: str) -> str | None:
    """A text of an object, made plain; None where it is absent, null or empty. ValueError where it is
    something else or too long."""
    value = entry.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{key} is not a text")
    if len(value) > MAX_TEXT:
        raise ValueError(f"{key} has more than {MAX_TEXT} characters")
    return plain(value) or None


def is_sha256(value: object) -> bool:
    """Whether it is a SHA-256 as 64 small hexadecimal digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
