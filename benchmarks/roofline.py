"""How fast a GPU plan can be at best, layer by layer: bytes, operations, and the roofs of four GPUs.

``python benchmarks/roofline.py --model M`` (an ONNX file or a model's name)

A layer takes no less than its multiply-adds at the peak of the tensor cores, nor than its values, read and
written once, at the bandwidth of the memory. *bound* is the sum of the larger of both over all layers, after
the fusions that TensorRT does by itself. *expected* allows 55 % of the peak, 75 % of the bandwidth, and 4 us
to start a layer. Nothing here was measured; it is what a measurement is to be held against.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mimo_rt  # noqa: E402
from benchmarks import pages  # noqa: E402

SIZES = ((720, 1280), (2160, 3840))
PEAK_SHARE, BANDWIDTH_SHARE, LAUNCH = 0.55, 0.75, 4e-6
PCIE = 22e9
"""Bytes a second of a copy from pinned memory over PCIe 4.0 x16."""
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class Gpu:
    """Peaks in operations a second, dense, fp32 accumulation, without TF32; bandwidth in bytes a second."""

    name: str
    peak: dict[str, float]
    bandwidth: float


GPUS = (
    Gpu("RTX 3060", {"fp32": 12.7e12, "fp16": 25.5e12, "int8": 102e12}, 360e9),
    Gpu("RTX 4090", {"fp32": 82.6e12, "fp16": 165e12, "int8": 661e12}, 1008e9),
    Gpu("A100 80 GB", {"fp32": 19.5e12, "fp16": 312e12, "int8": 624e12}, 2039e9),
    Gpu("H100 SXM", {"fp32": 67e12, "fp16": 989e12, "int8": 1979e12}, 3350e9),
)
"""From NVIDIA's data sheets; GeForce cards at half their fp16 rate, since sums are kept in fp32."""


@dataclass(frozen=True)
class Work:
    """Of one layer and one frame: operations (two a multiply-add) and values moved."""

    operations: float
    values: float


def work_of(layers: Sequence[dict[str, Any]], pixels: int) -> list[Work]:
    """Layers that compute; copies and concatenations that are left are counted as well."""
    return [
        Work(2.0 * layer["macs_per_pixel"] * pixels, layer["bytes_per_pixel"] / 4.0 * pixels)
        for layer in layers
        if layer["op"] != "input"
    ]


def seconds(work: Sequence[Work], gpu: Gpu, precision: str, *, ideal: bool) -> float:
    """By the roof of each layer."""
    peak = gpu.peak[precision] * (1.0 if ideal else PEAK_SHARE)
    bandwidth = gpu.bandwidth * (1.0 if ideal else BANDWIDTH_SHARE)
    launch = 0.0 if ideal else LAUNCH
    return sum(launch + max(w.operations / peak, w.values * BYTES[precision] / bandwidth) for w in work)


def render(report: pages.Report) -> str:
    """A report of this script as Markdown."""
    frames = [
        [
            f"{f['width']}x{f['height']}",
            f"{f['gflop']:.0f}",
            f"{f['values'] * 2 / 1e9:.2f}",
            f"{f['copy']:.2f}",
        ]
        for f in report["frames"]
    ]
    times = [
        [
            row["gpu"],
            f"{row['width']}x{row['height']}",
            *(f"{1e3 * row[p]['bound']:.2f} / {1e3 * row[p]['expected']:.1f}" for p in BYTES),
            f"{row['compute_bound']} of {row['layers']}",
        ]
        for row in report["times"]
    ]
    return "\n\n".join(
        [
            f"`{report['model']}`, {report['layers']} layers after fusion.",
            pages.table(
                ["frame", "GFLOP", "GB moved in fp16", "copies of 8-bit pixels in and out, ms"], frames
            ),
            pages.table(
                [
                    "GPU",
                    "frame",
                    *(f"{p}, bound / expected ms" for p in BYTES),
                    "layers bound by arithmetic in fp16",
                ],
                times,
            ),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", default="mimo-unet-s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    a = parser.parse_args(arguments)
    layers = mimo_rt.build(a.model, backend="cpu").layers()
    frames, times = [], []
    for height, width in SIZES:
        work = work_of(layers, height * width)
        frames.append(
            {
                "height": height,
                "width": width,
                "gflop": sum(w.operations for w in work) / 1e9,
                "values": sum(w.values for w in work),
                "copy": 1e3 * 2 * 3 * height * width / PCIE,
            }
        )
        for gpu in GPUS:
            row: dict[str, Any] = {"gpu": gpu.name, "height": height, "width": width, "layers": len(work)}
            for precision in BYTES:
                row[precision] = {
                    "bound": seconds(work, gpu, precision, ideal=True),
                    "expected": seconds(work, gpu, precision, ideal=False),
                }
            row["compute_bound"] = sum(
                w.operations / gpu.peak["fp16"] > w.values * BYTES["fp16"] / gpu.bandwidth for w in work
            )
            times.append(row)
    report: pages.Report = {
        "model": Path(a.model).name,
        "layers": len(work),
        "frames": frames,
        "times": times,
    }
    pages.tell(render(report), report, a.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
