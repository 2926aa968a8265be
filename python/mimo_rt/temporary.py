"""New files under a temporary name first, so that what is seen under the real one is always whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def replace_whole(target: Path, data: bytes) -> None:
    """`target` holds `data`, or what it held before. Raises OSError."""
    with temporary_beside(target, data) as temporary:
        temporary.replace(target)


@contextlib.contextmanager
def temporary_beside(target: Path, data: bytes) -> Iterator[Path]:
    """`data` on disk in a new file in the target's folder, to be renamed; gone at the end where it was not.

    Raises OSError where it cannot be written.
    """
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
