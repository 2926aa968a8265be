"""What a report says about the machine and the versions it was made with. Reads the system's files, runs
nothing."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def cpu_name() -> str:
    """The processor in its maker's words, or its architecture where the system keeps no such words."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    if found:
        return found.group(1).strip()
    return platform.processor() or platform.machine() or "unknown"


def usable_cores() -> int:
    """Cores that this process may run on; a container or taskset may leave fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def total_memory() -> int | None:
    """Bytes of physical memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def caches() -> dict[str, int]:
    """Bytes of the first core's data and unified caches by level ("L1", "L2", "L3"); empty where not told."""
    found: dict[str, int] = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            if (folder / "type").read_text().strip() == "Instruction":
                continue
            size = re.fullmatch(r"(\d+)([KM]?)", (folder / "size").read_text().strip())
            level = (folder / "level").read_text().strip()
        except OSError:
            continue
        if size:
            found[f"L{level}"] = int(size.group(1)) * {"": 1, "K": 1 << 10, "M": 1 << 20}[size.group(2)]
    return found


def load_average() -> float | None:
    """Runnable processes over the last minute; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def describe() -> dict[str, object]:
    """All of the above and the versions of the system and of Python, for a report."""
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "caches": caches(),
        "memory": total_memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
