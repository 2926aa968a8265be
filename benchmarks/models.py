"""What models take beside each other, in time and memory: ``python benchmarks/models.py --beside MODEL...``.

One photo, enlarged to each size, is run by every model, and by the first at every `scale` as well where the
photo is large enough for one; rounds are interleaved. The time is that of `Deblurrer.run` from 8-bit pixels
to 8-bit pixels; that of "auto" has the choice in it. Peak memory is of a process of its own for each row,
which loads the plan, reads the photo and runs once.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mimo_rt  # noqa: E402
from benchmarks import pages  # noqa: E402
from mimo_rt.benchmarking import peak_memory  # noqa: E402
from mimo_rt.cli import options  # noqa: E402
from mimo_rt.scale_choice import LEAST_PIXELS  # noqa: E402
from mimo_rt.sizes import format_bytes  # noqa: E402

SIZES = ((720, 1280), (3000, 4000))
SCALES: tuple[float | str, ...] = (0.5, 0.25, "auto")


@dataclass(frozen=True)
class Case:
    """One row: a model at one size, height x width, and one scale."""

    model: str
    height: int
    width: int
    scale: float | str = 1


@dataclass(frozen=True)
class Row:
    """A case, its seconds, the process's peak in bytes; chosen: what "auto" chose, and why."""

    case: Case
    median: float
    minimum: float
    peak: int
    chosen: str


def cases(models: list[str], sizes: list[tuple[int, int]]) -> list[Case]:
    """Every model at every size; the first at the other scales too, where "auto" would look at the photo."""
    rows = []
    for height, width in sizes:
        rows += [Case(model, height, width) for model in models]
        if height * width >= LEAST_PIXELS:
            rows += [Case(models[0], height, width, scale) for scale in SCALES]
    return rows


def photo(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """The photo as RGB of this size."""
    with Image.open(path) as image:
        resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def run(deblurrer: mimo_rt.Deblurrer, image: NDArray[np.uint8], scale: float | str) -> float:
    """Seconds of one run into an array that exists."""
    result = np.empty_like(image)
    start = time.perf_counter()
    deblurrer.run(image, out=result, scale=scale)
    return time.perf_counter() - start


def peak_here(plan: Path, pixels: Path, scale: float | str, threads: int) -> int:
    """Peak memory in bytes of this process, which should be new, after one run."""
    deblurrer = mimo_rt.Deblurrer(mimo_rt.Engine.load(plan), threads=threads)
    run(deblurrer, np.load(pixels, allow_pickle=False), scale)
    return peak_memory() or 0


def peak(plan: Path, pixels: Path, scale: float | str, threads: int) -> int:
    """The same in a process of its own."""
    worker = [sys.executable, str(Path(__file__).resolve()), "--worker", str(plan), str(pixels)]
    command = [*worker, "--scale", str(scale), "--threads", str(threads)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def measure(
    models: list[str], path: Path, sizes: list[tuple[int, int]], threads: int, rounds: int
) -> list[Row]:
    """Every case: rounds of a size interleaved after one run each that is not counted, then its memory."""
    engines = {model: mimo_rt.build(model) for model in models}
    rows = []
    for height, width in sizes:
        image = photo(path, height, width)
        deblurrers = {m: mimo_rt.Deblurrer(engine, threads=threads) for m, engine in engines.items()}
        of_size = cases(models, [(height, width)])
        seconds: dict[Case, list[float]] = {case: [] for case in of_size}
        for number in range(rounds + 1):
            for case in of_size:
                took = run(deblurrers[case.model], image, case.scale)
                if number:
                    seconds[case].append(took)
        with tempfile.TemporaryDirectory() as folder:
            pixels, plan = Path(folder) / "image.npy", Path(folder) / "model.plan"
            np.save(pixels, image)
            for case in of_size:
                engines[case.model].save(plan)
                times, bytes_ = seconds[case], peak(plan, pixels, case.scale, threads)
                choice = deblurrers[case.model].choose_scale(image) if case.scale == "auto" else None
                rows.append(
                    Row(case, statistics.median(times), min(times), bytes_, choice.sentence if choice else "")
                )
    return rows


def render(report: pages.Report) -> str:
    """A report of this script as Markdown."""
    rows = []
    for row in report["rows"]:
        case = row["case"]
        first = report["rows"][[r["case"]["width"] for r in report["rows"]].index(case["width"])]
        rows.append(
            [
                f"`{Path(case['model']).name}`",
                f"{case['width']}x{case['height']}",
                str(case["scale"]),
                f"{row['median']:.3f}",
                f"{row['minimum']:.3f}",
                f"{row['median'] / first['median']:.2f}",
                format_bytes(row["peak"]),
            ]
        )
    header = ["model", "image", "scale", "median s", "minimum s", "times the first", "whole process"]
    chosen = [
        f"Auto at {row['case']['width']}x{row['case']['height']}: {row['chosen']}."
        for row in report["rows"]
        if row["chosen"]
    ]
    rounds = f"{report['rounds']} rounds, interleaved"
    return "\n\n".join([pages.sentence(report, rounds), pages.table(header, rows), *chosen])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", default="mimo-unet-s", help="an ONNX file or a bundled model's name")
    parser.add_argument("--beside", nargs="*", default=[], metavar="MODEL", help="models to compare it with")
    parser.add_argument("--image", type=Path, default=ROOT / "examples" / "blurred.jpg", help="the photo")
    parser.add_argument("--sizes", type=options.size, nargs="+", default=list(SIZES), metavar="HxW")
    parser.add_argument("-t", "--threads", type=options.count, default=0, help="0 for all cores (default)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--worker", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=options.scale, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        plan, pixels = arguments.worker
        print(peak_here(plan, pixels, arguments.scale, arguments.threads))
        return 0
    models = [arguments.model, *arguments.beside]
    threads = mimo_rt.Deblurrer(mimo_rt.build(arguments.model), threads=arguments.threads).threads
    report = pages.made_by(Path(arguments.model).name, threads)
    rows = measure(models, arguments.image, arguments.sizes, threads, arguments.rounds)
    report |= {"rounds": arguments.rounds, "rows": [asdict(row) for row in rows]}
    pages.tell(render(report), report, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
