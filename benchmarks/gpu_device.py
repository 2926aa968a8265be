"""What NVIDIA's driver tells of the GPU in use, by nvidia-smi: the first one that CUDA may see."""

from __future__ import annotations

import os
import subprocess


def _asked(*facts: str) -> str | None:
    """The facts as nvidia-smi writes them; None where there is none, or it has no answer."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"
    query = ["nvidia-smi", f"--id={first}", f"--query-gpu={','.join(facts)}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


def describe() -> dict[str, str]:
    """Name, driver and MiB of memory; empty where they are not told."""
    told = _asked("name", "driver_version", "memory.total")
    return {} if told is None else dict(zip(("name", "driver", "MiB"), told.split(", "), strict=False))


def free_memory() -> int | None:
    """Bytes of its memory that nobody has; None where that is not told."""
    told = _asked("memory.free")
    return int(told) << 20 if told is not None and told.isdigit() else None
