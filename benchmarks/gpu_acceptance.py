"""One command for the first GPU: what has to be right about GPU plans, checked, and what they take, measured.

``python benchmarks/gpu_acceptance.py --models mimo-unet-s base-lively.onnx --data DATA --out DIR``

For every fp32 model: plans in fp32, fp16 and (with ``--data``) int8, each held against the CPU engine on a
photo, on odd sizes and in tiles; with ``--backend tensorrt`` what is off by default, ResBlocks by our own
kernel, images in half precision and batches of tiles, beside a plan without; and, where NVIDIA's
compute-sanitizer is installed, a run under it; then seconds at 1280x720, by the host's clock around whole
runs, beside the CPU engine in the same rounds. Writes DIR/acceptance.json and DIR/acceptance.md; exit code 1
where one failed. ``--backend cpu`` runs all of it on the processor, which tells whether the checks themselves
are sound.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mimo_rt  # noqa: E402
from benchmarks import pages  # noqa: E402
from mimo_rt import models  # noqa: E402
from mimo_rt.evaluation.metrics import psnr  # noqa: E402
from mimo_rt.image_io.replace import write_file  # noqa: E402
from mimo_rt.pairs import find  # noqa: E402

Pixels = NDArray[np.uint8]

FP32_ERROR, HALF_SHARE, INT8_DROP, SEAM = 1e-3, 0.999, 0.1, 2
"""Largest difference in parts of 1; share of 8-bit values within one step; dB; steps of 8 bits between tiled
and whole."""
ODD = ((1, 1), (17, 31), (335, 273))
ROUNDS = 10


@dataclass(frozen=True)
class Check:
    """One thing that has to be right, and how it was."""

    model: str
    precision: str
    name: str
    found: str
    wanted: str
    passed: bool


@dataclass(frozen=True)
class Time:
    """Seconds of a whole run at 1280x720, 8-bit pixels in and out."""

    model: str
    plan: str
    build: float
    median: float
    minimum: float
    device_bytes: int


def steps(a: Pixels, b: Pixels) -> tuple[int, float]:
    """(largest difference, share of values within one) of 8-bit values."""
    apart = np.abs(a.astype(np.int16) - b)
    return int(apart.max()), float((apart <= 1).mean())


def attempt(make: Callable[[], list[Check]], model: str, precision: str, name: str) -> list[Check]:
    """The checks, or one that says which error came instead."""
    try:
        return make()
    except mimo_rt.Error as error:
        return [Check(model, precision, name, f"{error.code}: {error}", "no error", False)]


def parity(
    model: str, precision: str, plan: mimo_rt.Engine, reference: mimo_rt.Engine, photo: Pixels
) -> list[Check]:
    """On the photo, on odd sizes and in tiles. `reference` runs the same file on the processor."""
    checks = []
    on_gpu, on_cpu = mimo_rt.Deblurrer(plan), mimo_rt.Deblurrer(reference)
    rng = np.random.default_rng(5)
    images = [photo, *(rng.integers(0, 256, (*size, 3), np.uint8) for size in ODD)]
    for image in images:
        name = f"{image.shape[1]}x{image.shape[0]}"
        if precision == "fp32":
            unit = image.astype(np.float32) / 255
            error = float(np.abs(on_gpu.run(unit) - on_cpu.run(unit)).max())
            wanted = f"at most {FP32_ERROR:g}"
            checks.append(Check(model, precision, name, f"{error:.1e}", wanted, error <= FP32_ERROR))
        else:
            worst, share = steps(on_gpu.run(image), on_cpu.run(image))
            # Small images have few values, and those of an int8 plan move where a quantum flips.
            least = HALF_SHARE if precision == "fp16" and image.size > 10_000 else 0.95
            found = f"{100 * share:.3f} % within one step, {worst} at most"
            checks.append(Check(model, precision, name, found, f"{100 * least:g} %", share >= least))
    return checks


def seams(model: str, precision: str, tiled: mimo_rt.Engine, whole: mimo_rt.Engine, photo: Pixels) -> Check:
    """A plan of one small size against the plan of whole frames."""
    worst, share = steps(mimo_rt.Deblurrer(tiled).run(photo), mimo_rt.Deblurrer(whole).run(photo))
    found = f"{worst} steps at most, {100 * share:.3f} % within one"
    return Check(model, precision, "tiles against whole", found, f"{SEAM} steps", worst <= SEAM)


def tile_side(plan: mimo_rt.Engine) -> int:
    """Of tiles that are mostly halo, so that a photo has many."""
    return min(2 * plan.info.halo + 128, 1024)


def blocks_to_fuse(model: Path) -> int:
    """ResBlocks that our own kernel can take over."""
    import onnx

    from mimo_rt.fused_blocks import fuse_blocks
    from mimo_rt.half import to_half

    return fuse_blocks(to_half(onnx.load(str(model))))[1]


def with_options(
    model: str, file: Path, plain: mimo_rt.Engine, photo: Pixels, title: str, given: dict[str, Any]
) -> tuple[Check, mimo_rt.Engine]:
    """A plan with options of `mimo_rt.build` that are off by default against one without, both fp16."""
    plan = mimo_rt.build(file, backend="tensorrt", precision="fp16", cache=False, **given)
    worst, share = steps(mimo_rt.Deblurrer(plan).run(photo), mimo_rt.Deblurrer(plain).run(photo))
    found = f"{100 * share:.3f} % within one step, {worst} at most"
    wanted = f"{100 * HALF_SHARE:g} %"
    return Check(model, "fp16", f"{title} against plain", found, wanted, share >= HALF_SHARE), plan


def sanitized(model: str, precision: str, plan: mimo_rt.Engine, folder: Path) -> list[Check]:
    """Runs of odd sizes in a process under NVIDIA's compute-sanitizer; nothing where it is not installed."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return []
    path = folder / f"{model}.{precision}.plan"
    plan.save(path)
    program = (
        "import sys, numpy, mimo_rt\n"
        "deblurrer = mimo_rt.Deblurrer(mimo_rt.Engine.load(sys.argv[1]))\n"
        f"for size in {ODD}: deblurrer.run(numpy.zeros((*size, 3), numpy.uint8))\n"
    )
    checks = []
    for check in ("memcheck", "racecheck", "initcheck", "synccheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", sys.executable, "-c", program, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        last = (done.stdout.strip().splitlines() or ["nothing said"])[-1].strip("= ")
        checks.append(Check(model, precision, check, last, "0 errors", done.returncode == 0))
    return checks


def psnr_drop(plan: mimo_rt.Engine, reference: mimo_rt.Engine, data: Path) -> float:
    """Mean PSNR of the reference minus that of the plan over the pairs of the GoPro subset, 8-bit, in dB."""
    drops = []
    for pair in find(data / "gopro_subset").pairs:
        blurred, sharp = (np.asarray(Image.open(path).convert("RGB")) for path in (pair.blur, pair.sharp))
        drops.append(
            psnr(mimo_rt.Deblurrer(reference).run(blurred), sharp, 255)
            - psnr(mimo_rt.Deblurrer(plan).run(blurred), sharp, 255)
        )
    return float(np.mean(drops))


def int8_export(model: Path, data: Path, folder: Path) -> Path:
    """All layers that can be, ranges from the REDS pairs that training may see."""
    import onnx

    from train.calibrate import activation_scales
    from train.quantize import quantizable, to_int8
    from train.tiles import read_tiles

    fp32 = onnx.load(str(model))
    layers = quantizable(fp32)
    names = {name for layer in layers for name in layer.activations}
    scales = activation_scales(fp32, names, read_tiles(data / "reds_020", last=16).inputs, "mse")
    target = folder / f"{model.stem}.int8.onnx"
    write_file(target, to_int8(fp32, layers, scales).SerializeToString(), overwrite=True)
    return target


def measure(plans: Sequence[tuple[str, str, mimo_rt.Engine, float]], frame: Pixels) -> list[Time]:
    """All plans in every round, one after another."""
    deblurrers = [mimo_rt.Deblurrer(engine) for _, _, engine, _ in plans]
    seconds: list[list[float]] = [[] for _ in plans]
    for round_number in range(ROUNDS + 1):
        for deblurrer, found in zip(deblurrers, seconds, strict=True):
            start = time.perf_counter()
            deblurrer.run(frame)  # copies to the host at its end, so that it is over when it returns
            if round_number:  # the first finishes the plan for the GPU
                found.append(time.perf_counter() - start)
    return [
        Time(model, name, build, statistics.median(s), min(s), deblurrer.memory_for(*frame.shape[:2]))
        for (model, name, _, build), s, deblurrer in zip(plans, seconds, deblurrers, strict=True)
    ]


def device() -> str:
    """What nvidia-smi says, for the page."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no nvidia-smi"


def render(report: pages.Report) -> str:
    """The page."""
    checks = [
        [c["model"], c["precision"], c["name"], c["found"], c["wanted"], "yes" if c["passed"] else "**NO**"]
        for c in report["checks"]
    ]
    times = [
        [
            t["model"],
            t["plan"],
            f"{t['build']:.2f}",
            f"{1e3 * t['median']:.2f}",
            f"{1e3 * t['minimum']:.2f}",
            f"{t['device_bytes'] / 2**20:.0f}",
        ]
        for t in report["times"]
    ]
    return "\n\n".join(
        [
            f"# GPU acceptance\n\nBackend {report['backend']}, {report['device']}; "
            f"mimo_rt {report['version']}, on {report['machine']['cpu']}.",
            pages.table(["model", "precision", "what", "found", "wanted", "passed"], checks),
            "Whole runs at 1280x720, 8-bit pixels in and out, all plans in every round:",
            pages.table(["model", "plan", "build, s", "median ms", "minimum ms", "memory, MiB"], times),
        ]
    )


def examine(model: str, backend: str, data: Path | None, folder: Path, report: dict[str, list[Any]]) -> None:
    """All checks and times of one model into the report."""
    known = models.find(model)
    path = known.path if known is not None else Path(model)
    name = path.stem
    with Image.open(ROOT / "examples" / "blurred.jpg") as opened:
        photo = np.asarray(opened.convert("RGB"))[:720, :1280]
    frame = np.ascontiguousarray(np.resize(photo, (720, 1280, 3)))
    reference = mimo_rt.build(path, backend="cpu")
    plans = [(name, "cpu fp32", reference, 0.0)]
    files = {"fp32": path, "fp16": path}
    if data is not None:
        files["int8"] = int8_export(path, data, folder)
    for precision, file in files.items():
        same_file = reference if precision != "int8" else mimo_rt.build(file, backend="cpu")

        def one(
            precision: str = precision, file: Path = file, same: mimo_rt.Engine = same_file
        ) -> list[Check]:
            on_cpu = backend == "cpu"
            wanted = "fp32" if on_cpu and precision == "int8" else precision
            start = time.perf_counter()
            plan = mimo_rt.build(file, backend=backend, precision=wanted, cache=False)
            plans.append((name, f"{backend} {precision}", plan, time.perf_counter() - start))
            checks = parity(name, precision, plan, same, photo)
            if not on_cpu:
                side = tile_side(plan)
                tiled = mimo_rt.build(file, backend=backend, precision=wanted, tile=side, cache=False)
                checks.append(seams(name, precision, tiled, plan, photo))
                checks += sanitized(name, precision, plan, folder)
            if precision == "int8" and data is not None:
                drop = psnr_drop(plan, reference, data)
                found, limit = f"{drop:+.3f} dB", f"at most {INT8_DROP} dB"
                checks.append(Check(name, precision, "PSNR lost, GoPro", found, limit, drop <= INT8_DROP))
            return checks

        report["checks"] += attempt(one, name, precision, "build and run")
    halves = [plan for _, title, plan, _ in plans if title == "tensorrt fp16"]
    side = tile_side(reference)
    options: dict[str, dict[str, Any]] = {
        "images in fp16": {"half_images": True},
        "single tiles": {"tile": side},
        "batches of 4 tiles": {"tile": side, "batch": 4},
    }
    if halves and blocks_to_fuse(path):
        options["fused blocks"] = {"fused_blocks": True}
    for title, given in options.items() if halves else ():

        def optional(title: str = title, given: dict[str, Any] = given) -> list[Check]:
            start = time.perf_counter()
            check, plan = with_options(name, path, halves[0], photo, title, given)
            plans.append((name, f"tensorrt fp16, {title}", plan, time.perf_counter() - start))
            return [check, *sanitized(name, f"fp16, {title}", plan, folder)]

        report["checks"] += attempt(optional, name, "fp16", title)
    report["times"] += measure(plans, frame)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--models", nargs="+", default=["mimo-unet-s"], help="names or fp32 ONNX files")
    parser.add_argument("--backend", default="tensorrt-rtx", choices=("tensorrt", "tensorrt-rtx", "cpu"))
    parser.add_argument(
        "--data", type=Path, help="folder of gopro_subset and reds_020: int8 too (extra train)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for acceptance.json and acceptance.md"
    )
    a = parser.parse_args(arguments)
    found: dict[str, list[Any]] = {"checks": [], "times": []}
    with tempfile.TemporaryDirectory() as folder:
        for model in a.models:
            examine(model, a.backend, a.data, Path(folder), found)
    report = pages.made_by(", ".join(a.models), 0)
    report |= {"backend": a.backend, "device": device()}
    report |= {key: [asdict(entry) for entry in entries] for key, entries in found.items()}
    a.out.mkdir(parents=True, exist_ok=True)
    pages.write_report(a.out / "acceptance.json", report)
    page = render(report)
    pages.write(a.out / "acceptance.md", page + "\n")
    print(page)
    return 0 if all(check.passed for check in found["checks"]) else 1


if __name__ == "__main__":
    sys.exit(main())
