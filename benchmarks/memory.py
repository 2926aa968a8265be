"""What a process takes that loads a cached plan and deblurs: ``python benchmarks/memory.py --model X.onnx``.

Every case runs in a process of its own: it loads the plan, makes the image (uint8 pixels), runs once, and
reports the largest resident size before the image, with it, and after the run. What the engine says it will
allocate (`Deblurrer.memory_for`) stands beside it; the run may pass that by no more than 16 MB. A second
table asks the engine alone, without running, for heights that differ by 16 times at one width.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mimo_rt
from benchmarks import pages
from mimo_rt.benchmarking import peak_memory
from mimo_rt.cli import options
from mimo_rt.sizes import format_bytes

SLACK = 16 << 20
"""Bytes that a run may take beyond what `memory_for` says: stacks, row pointers, the allocator's own."""

HEIGHTS = (1000, 4000, 16000)
WIDTH = 4000


@dataclass(frozen=True)
class Case:
    """One image size, height x width, and one bound; None for the default."""

    height: int
    width: int
    memory: str | None = None

    @property
    def name(self) -> str:
        bound = f", memory={self.memory}" if self.memory else ""
        return f"{self.width}x{self.height}{bound}"


CASES = (
    Case(720, 1280),
    Case(720, 1280, "400M"),
    Case(4000, 6000, "700M"),
    Case(4000, 6000),
)


@dataclass(frozen=True)
class Usage:
    """One case. Bytes and seconds; peaks are of the whole process, interpreter and libraries included."""

    case: str
    planned: int
    engine: int
    peak: int
    seconds: float


def measure_here(plan: Path, case: Case, threads: int) -> Usage:
    """Runs the case in this process, which should be new."""
    engine = mimo_rt.Engine.load(plan)
    deblurrer = mimo_rt.Deblurrer(engine, threads=threads, memory=case.memory)
    rng = np.random.default_rng(0)
    image = np.empty((case.height, case.width, 3), np.uint8)
    for y in range(0, case.height, 64):  # in strips, so that making the image is no peak of its own
        image[y : y + 64] = rng.integers(0, 256, image[y : y + 64].shape, dtype=np.uint8)
    result = np.zeros_like(image)
    before = peak_memory() or 0
    start = time.perf_counter()
    deblurrer.run(image, out=result)
    seconds = time.perf_counter() - start
    peak = peak_memory() or 0
    planned = deblurrer.memory_for(case.height, case.width)
    return Usage(case.name, planned, peak - before + engine.info.packed_bytes, peak, seconds)


def measure(plan: Path, case: Case, threads: int) -> Usage:
    """The case in a process of its own."""
    worker = [sys.executable, str(Path(__file__).resolve()), "--worker", str(plan), "--threads", str(threads)]
    arguments = json.dumps(asdict(case))
    done = subprocess.run([*worker, "--case", arguments], stdout=subprocess.PIPE, text=True, check=True)
    return Usage(**json.loads(done.stdout))


def heights(plan: Path, threads: int) -> list[tuple[int, int]]:
    """What the engine would allocate for images of one width, by height."""
    deblurrer = mimo_rt.Deblurrer(mimo_rt.Engine.load(plan), threads=threads)
    return [(height, deblurrer.memory_for(height, WIDTH)) for height in HEIGHTS]


def render(report: pages.Report) -> str:
    """A report of this script as Markdown."""
    rows = []
    for case in report["cases"]:
        sizes = (format_bytes(case[key]) for key in ("planned", "engine", "peak"))
        rows.append([case["case"], *sizes, f"{case['seconds']:.2f}"])
    by_height = ", ".join(f"height {height}: {format_bytes(size)}" for height, size in report["heights"])
    header = ["image", "engine says", "engine took", "whole process", "seconds"]
    return (
        f"{pages.sentence(report)}\n\n{pages.table(header, rows)}\n\n"
        f"Engine at width {WIDTH}, default bound: {by_height}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", help="an ONNX file with lively weights (see docs/benchmarks.md)")
    parser.add_argument("-t", "--threads", type=options.count, default=0, help="0 for all cores (default)")
    parser.add_argument("--quick", action="store_true", help="leave out the 24-megapixel cases")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        usage = measure_here(arguments.worker, Case(**json.loads(arguments.case)), arguments.threads)
        print(json.dumps(asdict(usage)))
        return 0
    if not arguments.model:
        parser.error("--model is needed")
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "model.plan"
        mimo_rt.build(arguments.model).save(plan)
        cases = [c for c in CASES if not arguments.quick or c.height < 2000]
        usages = [measure(plan, case, arguments.threads) for case in cases]
        by_height = heights(plan, arguments.threads)
        threads = mimo_rt.Deblurrer(mimo_rt.Engine.load(plan), threads=arguments.threads).threads
    report = pages.made_by(Path(arguments.model).name, threads)
    report |= {"cases": [asdict(u) for u in usages], "heights": by_height}
    pages.tell(render(report), report, arguments.json)
    broken = [u.case for u in usages if u.engine > u.planned + SLACK]
    if broken:
        print(f"took more than it said: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
