"""A file appears whole or not at all: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from mimo_rt.errors import ImageError, make


def write_file(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Put `data` at `path`. An existing file is replaced only with `overwrite`, and keeps its mode; a new one
    gets the mode that new files get. Links are followed; what is no regular file (a pipe, /dev/null) is
    written to as it is.

    Raises ImageError, and leaves nothing behind, where that cannot be done.
    """
    try:
        target = path.resolve()
        existing = target.stat() if target.exists() else None
        if existing is not None and stat.S_ISDIR(existing.st_mode):
            raise make(ImageError, "image.write", f"cannot write {path}: it is a folder")
        if existing is not None and not stat.S_ISREG(existing.st_mode):
            target.write_bytes(data)
            return
        if existing is not None and not overwrite:
            raise make(ImageError, "image.exists", f"{path} exists already; --force overwrites it")
        temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if existing is not None:
                temporary.chmod(stat.S_IMODE(existing.st_mode))
            temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise make(ImageError, "image.write", f"cannot write {path}: {error.strerror or error}") from error
