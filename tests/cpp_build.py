"""Builds the C++ side once a test run, for the tests that need it.

`MIMO_RT_BUILD` names the build folder to use and keep; the default is that of the CMake preset, inside the
clone, so that the next run builds only what has changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRESET = "ci"


def run(*command: str, folder: Path | None = None, timeout: float = 900) -> str:
    """Standard output and error of a command, which must succeed."""
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False
    )
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{text[-8000:]}", pytrace=False)
    return text


@lru_cache(maxsize=1)
def cpp_build() -> Path:
    """The folder of a finished build of library and tests. Skips where there is no CMake or no ninja."""
    for tool in ("cmake", "ninja"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = Path(os.environ.get("MIMO_RT_BUILD") or ROOT / "build" / PRESET).absolute()
    run("cmake", "--preset", PRESET, "-S", str(ROOT), "-B", str(folder), folder=ROOT)
    run("cmake", "--build", str(folder), "--parallel", str(min(os.cpu_count() or 1, 4)))
    return folder
