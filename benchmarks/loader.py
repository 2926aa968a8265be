"""How many training pairs a second the loader gives: ``python benchmarks/loader.py --data PAIRS``.

A training pair is the same random crop of a blurred and a sharp frame. Ways to have it are compared: PNG
files decoded by Pillow as training does; by imagecodecs, where that is installed; and decoded frames that
are mapped from disk, as ``train.fit --cache`` keeps them. Beside them stands what a training step of
``--ms-per-step`` consumes, else the published ones. Without ``--data`` frames are made, noise on gradients,
which decode in three quarters of the time of a camera's. Figures by the clock want a machine without other
work; the processor's time is steadier.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import pages
from mimo_rt import machine
from mimo_rt import pairs as pair_files
from mimo_rt.cli import options
from train.frames import Frames

Pixels: TypeAlias = NDArray[np.uint8]
Read: TypeAlias = Callable[[Path, int, int, int], Pixels]
"""(file, y, x, side) to uint8 (side, side, 3)."""

FRAME = (720, 1280)
MADE_PAIRS = 6
STEPS = {"1 x RTX 3090": (132.0, 4), "8 x RTX 3090": (167.0, 32), "1 x Ascend 910": (63.0, 4)}
"""Published trainings: milliseconds a step, pairs in a step of all devices."""


def as_training(cache: Path | None) -> Read:
    """As `train.frames` reads them: by Pillow, the crop alone made an array, or mapped from the folder of
    decoded frames."""
    frames = Frames(cache)

    def read(path: Path, y: int, x: int, side: int) -> Pixels:
        crop: Pixels = frames.crop(path, y, x, side).copy()
        return crop

    return read


def by_imagecodecs(path: Path, y: int, x: int, side: int) -> Pixels:
    """imagecodecs decodes the frame (libspng)."""
    import imagecodecs  # type: ignore[import-untyped,unused-ignore]

    crop: Pixels = imagecodecs.spng_decode(path.read_bytes())[y : y + side, x : x + side].copy()
    return crop


STORES: dict[str, Callable[[Path], Read]] = {
    "PNG, Pillow": lambda _: as_training(None),
    "PNG, imagecodecs": lambda _: by_imagecodecs,
    "decoded (--cache)": as_training,
}
"""How to read, given the folder for decoded frames."""


@dataclass(frozen=True)
class Rate:
    """One store with so many workers: pairs a second by the clock, and processor time of a pair in ms."""

    store: str
    workers: int
    pairs_per_second: float
    cpu_ms: float


@dataclass(frozen=True)
class Job:
    """What one worker does: random pairs from these files for some seconds."""

    store: str
    files: tuple[tuple[Path, Path], ...]
    cache: Path
    side: int
    seconds: float
    seed: int


def work(job: Job) -> tuple[int, float, float]:
    """Pairs, seconds by the clock, seconds of processor time."""
    read, rng = STORES[job.store](job.cache), np.random.default_rng(job.seed)
    with Image.open(job.files[0][0]) as image:
        width, height = image.size
    for pair in job.files:  # imports, and what is decoded once for all epochs
        for path in pair if job.store.startswith("decoded") else pair[:1]:
            read(path, 0, 0, job.side)
    count, begin, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begin < job.seconds:
        y, x = int(rng.integers(height - job.side + 1)), int(rng.integers(width - job.side + 1))
        for path in job.files[int(rng.integers(len(job.files)))]:
            read(path, y, x, job.side)
        count += 1
    return count, time.perf_counter() - begin, time.process_time() - cpu


def measure(
    store: str, files: Sequence[tuple[Path, Path]], cache: Path, side: int, workers: int, seconds: float
) -> Rate:
    """The rate of this store with so many processes at once."""
    jobs = [Job(store, tuple(files), cache, side, seconds, seed) for seed in range(workers)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        done = pool.map(work, jobs, chunksize=1)
    pairs = sum(count for count, _, _ in done)
    return Rate(
        store,
        workers,
        sum(count / clock for count, clock, _ in done),
        1000.0 * sum(cpu for _, _, cpu in done) / pairs,
    )


def make_frames(folder: Path) -> None:
    """Pairs of frames: gradients and edges under a little noise."""
    rng = np.random.default_rng(0)
    height, width = FRAME
    y, x = np.mgrid[0:height, 0:width]
    for half in ("blur", "sharp"):
        (folder / half).mkdir()
        for i in range(MADE_PAIRS):
            ramps = np.stack([(x + 60 * i) * 255 // (width + 400), y * 255 // height, (x + y) % 256], axis=2)
            noisy = ramps + rng.normal(0.0, 1.2, ramps.shape)
            pixels = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / half / f"{i}.png")


def render(report: pages.Report) -> str:
    """A report of this script as Markdown."""
    wants = [f"{row['name']}: {row['pairs_per_second']:.0f}" for row in report["steps"]]
    rows = []
    for rate in report["rates"]:
        feeds = [f"{rate['pairs_per_second'] / row['pairs_per_second']:.2f}" for row in report["steps"]]
        rows.append(
            [
                f"{rate['store']}, workers: {rate['workers']}",
                f"{rate['pairs_per_second']:.1f}",
                f"{rate['cpu_ms']:.2f}",
                *feeds,
            ]
        )
    header = ["store", "pairs/s", "processor ms a pair", *(f"times {row['name']}" for row in report["steps"])]
    facts = report["machine"]
    return (
        f"{report['frames']}, crops of {report['side']}x{report['side']}, on {facts['cpu']} "
        f"({facts['cores']} cores, load {facts['load']:.1f} when it began).\n\n"
        f"{pages.table(header, rows)}\n\n"
        f"Pairs a second that training consumes: {', '.join(wants)}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="pairs, in any layout that mimo_rt knows")
    parser.add_argument("--pairs", type=options.count, default=20, help="how many of them (default 20)")
    parser.add_argument("--side", type=options.count, default=256, help="of the crop (default 256)")
    parser.add_argument("--workers", type=options.count, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0, help="a store and number of workers")
    parser.add_argument("--ms-per-step", type=float, help="of a training, to be set beside the rates")
    parser.add_argument("--batch", type=options.count, default=4, help="pairs in its step (default 4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    a = parser.parse_args()
    if 0 in (a.pairs, a.side, a.batch, *a.workers) or a.seconds <= 0:
        parser.error("numbers of pairs, pixels, workers and seconds must be above 0")
    steps = {"this step": (a.ms_per_step, a.batch)} if a.ms_per_step else STEPS
    report: pages.Report = {
        "side": a.side,
        "machine": machine.describe() | {"load": machine.load_average() or 0.0},
        "steps": [
            {"name": name, "pairs_per_second": 1000.0 * batch / ms} for name, (ms, batch) in steps.items()
        ],
    }
    with tempfile.TemporaryDirectory() as temporary:
        data = a.data
        if data is None:
            data = Path(temporary) / "made"
            data.mkdir()
            make_frames(data)
        found = pair_files.find(data).pairs[: a.pairs]
        with Image.open(found[0].blur) as image:
            width, height = image.size
        if min(width, height) < a.side:
            parser.error(f"frames of {width}x{height} have no crops of {a.side} pixels")
        files = [(p.blur, p.sharp) for p in found]
        report["frames"] = f"{len(files)} pairs of {width}x{height}" + ("" if a.data else ", made")
        stores = list(STORES)
        try:
            import imagecodecs  # noqa: F401
        except ImportError:
            stores.remove("PNG, imagecodecs")
        rates = [
            measure(store, files, Path(temporary) / "cache", a.side, workers, a.seconds)
            for store in stores
            for workers in a.workers
        ]
        report["rates"] = [asdict(rate) for rate in rates]
    pages.tell(render(report), report, a.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
