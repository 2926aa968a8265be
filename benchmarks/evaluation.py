"""What evaluating costs beside the network: ``python benchmarks/evaluation.py --model X.onnx``.

Pairs of a synthetic picture are written as PNG, `mimo-rt eval`'s work is done on them, and the network alone
is timed on the same images, one after another, with nothing beside it. The difference between the two is
what reading, PSNR, SSIM and the report cost by the clock.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import pages
from benchmarks.peers import picture
from mimo_rt import evaluation, pairs
from mimo_rt.cli import options
from mimo_rt.evaluation import images


def write_pairs(folder: Path, height: int, width: int, count: int) -> None:
    """`count` pairs, each a shifted picture, blurred by five pixels along its rows."""
    for half in ("blur", "sharp"):
        (folder / half).mkdir()
    sharp = picture(height, width)[0].transpose(1, 2, 0)
    for number in range(count):
        moved = np.roll(sharp, 17 * number, axis=1)
        blurred = np.mean([np.roll(moved, shift, axis=1) for shift in range(-2, 3)], axis=0)
        for half, image in (("blur", blurred), ("sharp", moved)):
            pixels = np.clip(255 * image + 0.5, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / half / f"{number}.png")


def measure(model: str, height: int, width: int, count: int, threads: int) -> pages.Report:
    """Seconds an image, of the network alone and of the parts of an evaluation."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pairs").mkdir()
        write_pairs(folder / "pairs", height, width, count)
        found = pairs.find(folder / "pairs")
        backend = evaluation.open_backend("cpu", model, threads=threads)
        given = [images.load(pair).blurred for pair in found.pairs]
        backend.run(given[0])
        start, work = time.perf_counter(), time.process_time()
        for image in given:
            backend.run(image)
        alone, alone_work = time.perf_counter() - start, time.process_time() - work
        start, work = time.perf_counter(), time.process_time()
        summary = evaluation.evaluate(evaluation.Evaluation(found, backend), folder / "out")
        clock, clock_work = time.perf_counter() - start, time.process_time() - work
    report = pages.made_by(Path(model).name, int(backend.facts["threads"]))
    report |= {"height": height, "width": width, "images": count, "alone": alone / count}
    report |= {"alone_processor": alone_work / count, "processor": clock_work / count}
    parts = {"beside": "model", "decoding": "decoding", "metrics": "metrics", "total": "total"}
    report |= {name: summary["timing"][part] / count for name, part in parts.items()}
    report["with_report"] = clock / count
    return report


def render(report: pages.Report) -> str:
    """A report of this script as Markdown."""
    rows = [
        ("the network alone, nothing beside it", report["alone"], report["alone_processor"]),
        ("the network while others work", report["beside"], None),
        ("reading two files (in threads)", report["decoding"], None),
        ("PSNR and SSIM before and after (in threads)", report["metrics"], None),
        ("all without the report", report["total"], None),
        ("all", report["with_report"], report["processor"]),
    ]
    cells = [[label, f"{clock:.3f}", f"{work:.3f}" if work else ""] for label, clock, work in rows]
    size = f"{report['images']} images of {report['width']}x{report['height']}"
    share = report["alone_processor"] / report["processor"]
    return (
        f"{pages.sentence(report, size)}\n\n"
        f"{pages.table(['seconds an image', 'clock', 'processor'], cells)}\n\n"
        f"The network alone takes {share:.0%} of the processor's time."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", required=True, help="an ONNX file or a bundled model's name")
    parser.add_argument("--size", type=options.size, default=(720, 1280), metavar="HxW", help="(720x1280)")
    parser.add_argument("--images", type=options.at_least_one, default=12, metavar="N", help="pairs (12)")
    parser.add_argument("-t", "--threads", type=options.count, default=0, help="0 for all cores (default)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    arguments = parser.parse_args()
    height, width = arguments.size
    report = measure(arguments.model, height, width, arguments.images, arguments.threads)
    pages.tell(render(report), report, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
