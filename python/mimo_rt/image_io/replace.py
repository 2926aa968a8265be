"""A file appears whole or not at all: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import stat
from pathlib import Path

from mimo_rt.errors import ImageError, make
from mimo_rt.temporary import temporary_beside


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
        with temporary_beside(target, data) as temporary:
            if existing is not None:
                temporary.chmod(stat.S_IMODE(existing.st_mode))
            temporary.replace(target)
    except OSError as error:
        raise make(ImageError, "image.write", f"cannot write {path}: {error.strerror or error}") from error
