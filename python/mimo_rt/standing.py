"""What stands at a path, asked without an error: where the name is too long or a folder on the way cannot be
entered, nothing that could be seen does. (`Path.is_dir` and its kin raise there.)"""

from __future__ import annotations

import stat
from pathlib import Path


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def is_folder(path: Path) -> bool:
    """A folder, or a link to one."""
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """A regular file, or a link to one."""
    return stat.S_ISREG(_mode(path))


def is_special(path: Path) -> bool:
    """A device, a pipe or a socket."""
    mode = _mode(path)
    return mode != 0 and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
