"""What `import mimo_rt` costs beside `import numpy`: medians of processes started in turn.

    python benchmarks/import_time.py

The package loads its parts on first use, so two lines are given: the package alone, and with everything a run
needs. Each process says how long its own import took, so the interpreter's start is not in the figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

STATEMENTS = {
    "numpy": "import numpy",
    "mimo_rt": "import mimo_rt",
    "mimo_rt, all of it": "import mimo_rt; mimo_rt.Deblurrer",
}

TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def measure(statement: str) -> float:
    """Seconds that `statement` takes in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(statement)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=10, help="processes for each line (default 10)")
    parser.add_argument("--json", action="store_true", help="print seconds as JSON")
    arguments = parser.parse_args()
    for statement in STATEMENTS.values():  # byte code is written, files are in memory
        measure(statement)
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(arguments.rounds):
        for name, statement in STATEMENTS.items():
            seconds[name].append(measure(statement))
    if arguments.json:
        print(json.dumps(seconds))
        return 0
    base = statistics.median(seconds["numpy"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:20} {1000 * median:7.1f} ms  {1000 * (median - base):+7.1f} ms against numpy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
