"""How time goes with size and threads, how many frames an hour a core makes, how soon the first pixel is
there: ``python benchmarks/scaling.py --model X.onnx``.

Four parts. *Sizes and threads*: seconds of one image, rounds interleaved. *Frames*: many frames of one size
by one Deblurrer on all threads, against one single-threaded Deblurrer a thread on the same Engine; what each
of those adds to memory stands beside it. *Cold start*: a new process from its first line to the first
result, with a plan in the cache and without. *Counted* is what more threads than this machine has would meet
in one step of the schedule: work items, and the share of the threads that have one.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mimo_rt
from benchmarks import pages
from mimo_rt.cli import options
from mimo_rt.sizes import format_bytes

SIZES = ((256, 256), (720, 1280), (1080, 1920))
BAND = 192  # rows of one step, the default from 8 threads on
COUNTED_THREADS = (1, 2, 16, 64)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    """An image of random pixels: the engine's time does not depend on what they show."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def seconds_of(deblurrer: mimo_rt.Deblurrer, image: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    deblurrer.run(image, out=np.empty_like(image))
    return time.perf_counter() - start


@dataclass(frozen=True)
class Point:
    """Seconds of one image at one size and number of threads."""

    height: int
    width: int
    threads: int
    median: float
    minimum: float


def sizes_and_threads(engine: mimo_rt.Engine, threads: list[int], rounds: int) -> list[Point]:
    """Every size with every number of threads, rounds interleaved."""
    points = []
    for height, width in SIZES:
        image = noise(height, width)
        deblurrers = {n: mimo_rt.Deblurrer(engine, threads=n) for n in threads}
        times: dict[int, list[float]] = {n: [] for n in threads}
        for deblurrer in deblurrers.values():
            seconds_of(deblurrer, image)
        for _ in range(rounds):
            for n, deblurrer in deblurrers.items():
                times[n].append(seconds_of(deblurrer, image))
        points += [Point(height, width, n, statistics.median(t), min(t)) for n, t in times.items()]
    return points


@dataclass(frozen=True)
class Throughput:
    """Frames of 1280x720. memory_each: what each further Deblurrer takes, in bytes."""

    together: float
    apart: float
    memory_each: int


def throughput(engine: mimo_rt.Engine, threads: int, frames: int) -> Throughput:
    """Frames an hour and core: all threads on one frame, and a frame a thread."""
    image = noise(720, 1280)

    def run(deblurrer: mimo_rt.Deblurrer, count: int) -> None:
        for _ in range(count):
            seconds_of(deblurrer, image)

    one = mimo_rt.Deblurrer(engine, threads=threads)
    many = [mimo_rt.Deblurrer(engine, threads=1) for _ in range(threads)]
    for deblurrer in [one, *many]:
        run(deblurrer, 1)
    start = time.perf_counter()
    run(one, frames * threads)
    together = time.perf_counter() - start
    workers = [threading.Thread(target=run, args=(deblurrer, frames)) for deblurrer in many]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    apart = time.perf_counter() - start
    per_hour = 3600.0 * frames  # a core: threads cancel out
    each = many[0].memory_for(720, 1280) - engine.info.packed_bytes
    return Throughput(per_hour / together, per_hour / apart, each)


_COLD = """
import time; start = time.perf_counter()
import sys, numpy as np, mimo_rt
out = mimo_rt.Deblurrer(sys.argv[1]).run(np.zeros((256, 256, 3), np.uint8))
print(time.perf_counter() - start)
"""


def cold_start(model: str, rounds: int) -> dict[str, float]:
    """Median seconds of a new process until it holds a 256x256 result: plan to be built, plan cached."""
    times: dict[str, list[float]] = {"building the plan": [], "plan cached": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "XDG_CACHE_HOME": cache}
            for name in times:
                command = [sys.executable, "-c", _COLD, model]
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                times[name].append(float(done.stdout))
    return {name: statistics.median(values) for name, values in times.items()}


@dataclass(frozen=True)
class Count:
    """Layers of one level in one step. busy: mean share of the threads at work, as COUNTED_THREADS."""

    level: int
    layers: int
    groups: int
    busy: list[float]


def counted(engine: mimo_rt.Engine, width: int, micro_rows: int) -> list[Count]:
    """The Winograd layers of each level. A group is what the micro-kernel takes at once, the smallest piece
    of work that can be given to a thread."""
    counts = []
    by_level: dict[int, int] = {}
    for layer in engine.layers():
        if str(layer["kernel"]).startswith("winograd-f6"):
            by_level[layer["level"]] = by_level.get(layer["level"], 0) + 1
    for level, layers in sorted(by_level.items()):
        tiles = math.ceil((BAND >> level) / 6) * math.ceil((width >> level) / 6)
        groups = math.ceil(tiles / micro_rows)
        busy = [groups / (n * math.ceil(groups / n)) for n in COUNTED_THREADS]
        counts.append(Count(level, layers, groups, busy))
    return counts


def render(report: pages.Report) -> str:
    """A report of this script as Markdown."""
    points, frames, threads = report["points"], report["frames"], report["threads"]
    single = {(p["height"], p["width"]): p["median"] for p in points if p["threads"] == 1}
    rows = []
    for p in points:
        speed_up = single[p["height"], p["width"]] / p["median"]
        cells = (
            f"{p['width']}x{p['height']}",
            str(p["threads"]),
            f"{p['median']:.3f}",
            f"{p['minimum']:.3f}",
        )
        rows.append([*cells, f"{speed_up:.2f}"])
    cold = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in report["cold"].items())
    levels = [
        [f"1/{1 << c['level']}" if c["level"] else "1", str(c["layers"]), str(c["groups"])]
        + [f"{100 * share:.0f} %" for share in c["busy"]]
        for c in report["counted"]
    ]
    busy = [f"{n} thread{'s' if n > 1 else ''}" for n in COUNTED_THREADS]
    return "\n\n".join(
        [
            pages.sentence(report),
            pages.table(["image", "threads", "median s", "minimum s", "speed-up"], rows),
            f"1280x720, frames an hour and core: {frames['together']:.0f} by one Deblurrer on {threads}"
            f" threads, {frames['apart']:.0f} by one a thread ({format_bytes(frames['memory_each'])} each).",
            f"First 256x256 result of a new process: {cold}.",
            f"Winograd layers of one step of {BAND} rows at width 1280, threads busy:",
            pages.table(["level", "layers", "groups", *busy], levels),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", required=True, help="an ONNX file or a bundled model's name")
    parser.add_argument(
        "-t", "--threads", type=options.count, default=0, help="the most to try; 0 for all cores (default)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=2, help="frames a thread for the table of frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    arguments = parser.parse_args()
    engine = mimo_rt.build(arguments.model)
    cores = mimo_rt.Deblurrer(engine, threads=arguments.threads).threads
    report = pages.made_by(Path(arguments.model).name, cores)
    points = sizes_and_threads(engine, list(range(1, cores + 1)), arguments.rounds)
    report["points"] = [asdict(p) for p in points]
    report["frames"] = asdict(throughput(engine, cores, arguments.frames))
    report["cold"] = cold_start(arguments.model, arguments.rounds)
    micro_rows = 12 if engine.info.target in ("AVX-512", "NEON") else 6
    report["counted"] = [asdict(c) for c in counted(engine, 1280, micro_rows)]
    pages.tell(render(report), report, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
