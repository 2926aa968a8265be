"""A file that one program has at a time. The system lets go of it when the program ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[BinaryIO]:
    """The file, made if it is not there, open to read and write, and nobody else's meanwhile.

    BlockingIOError where another has it and `wait` is False; OSError where it cannot be opened or locked.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o666), "r+b") as file:
        if sys.platform == "win32":
            import msvcrt

            # A byte far behind all that is written, which others may still read.
            file.seek(1 << 62)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError as error:
                raise BlockingIOError(error.errno, "another program has it") from error
            file.seek(0)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield file
