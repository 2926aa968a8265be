"""A file appears whole or not at all: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from mimo_rt.errors import ImageError, make
from mimo_rt.standing import is_file, is_folder, is_special
from mimo_rt.temporary import temporary_beside

NO_SPACE = "image.no_space"
"""The code of the error of a full disk or a used-up quota: whatever comes next will fail there as well."""


def check_place(path: Path) -> None:
    """ImageError where a file at `path` surely cannot be written: to be asked before long work. Makes
    nothing."""
    _refuse_folder(path)
    if is_special(path):
        return
    folder = Path(os.path.realpath(path)).parent
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not is_folder(folder):
        raise make(ImageError, "image.write", f"cannot write {path}: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise make(ImageError, "image.write", f"cannot write {path}: {folder} cannot be written to")


def _refuse_folder(path: Path) -> None:
    if is_folder(path):
        raise make(ImageError, "image.write", f"cannot write {path}: it is a folder")


def write_file(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Put `data` at `path`. An existing file is replaced only with `overwrite`, and keeps its mode; a new one
    gets the mode that new files get. Links are followed; what is no regular file (a pipe, /dev/null) is
    written to as it is.

    Raises ImageError, and leaves nothing behind, where that cannot be done; with the code `NO_SPACE` where
    there is no space.
    """
    try:
        _refuse_folder(path)
        if is_special(path):
            path.write_bytes(data)  # by its own name: that of the pipe behind /dev/stdout leads nowhere
            return
        target = Path(os.path.realpath(path))
        mode = stat.S_IMODE(target.stat().st_mode) if is_file(target) else None
        if mode is not None and not overwrite:
            raise make(ImageError, "image.exists", f"{path} exists already; --force overwrites it")
        with temporary_beside(target, data) as temporary:
            if mode is not None:
                temporary.chmod(mode)
            temporary.replace(target)
    except OSError as error:
        code = NO_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else "image.write"
        raise make(ImageError, code, f"cannot write {path}: {error.strerror or error}") from error
