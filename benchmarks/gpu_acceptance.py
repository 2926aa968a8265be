"""One command for the first GPU: what has to be right about GPU plans, checked, and what they take, measured.

``python benchmarks/gpu_acceptance.py --models mimo-unet-s base-lively.onnx --data DATA --out DIR``

For every fp32 model: plans in fp32, fp16 and (with ``--data``) int8, each held against the CPU engine on a
photo, on odd sizes and in tiles, fp32 against PyTorch too where that is installed; with
``--backend tensorrt`` what is off by default, ResBlocks by our own kernel, images in half precision and
batches of tiles, beside a plan without; and, where NVIDIA's compute-sanitizer is installed, a run under it;
then seconds at 1280x720, by the host's clock around whole runs, a few plans in the same rounds; at last
gpu.py's comparison with others at that size. Writes DIR/acceptance.json and DIR/acceptance.md after every
model, whatever went wrong; exit code 1 where something failed. ``--backend cpu`` runs all of it on the
processor, which tells whether the checks themselves are sound.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mimo_rt  # noqa: E402
from benchmarks import gpu, gpu_device, pages  # noqa: E402
from benchmarks.runtimes import pytorch_network  # noqa: E402
from mimo_rt import models  # noqa: E402
from mimo_rt.evaluation.metrics import psnr  # noqa: E402
from mimo_rt.gpu_shapes import shapes_for  # noqa: E402
from mimo_rt.image_io.replace import write_file  # noqa: E402
from mimo_rt.padding import run_padded  # noqa: E402
from mimo_rt.pairs import find  # noqa: E402

Pixels = NDArray[np.uint8]

FP32_ERROR, HALF_SHARE, INT8_DROP, SEAM = 1e-3, 0.999, 0.1, 2
"""Largest difference in parts of 1; share of 8-bit values within one step; dB; steps of 8 bits between tiled
and whole."""
ODD = ((1, 1), (17, 31), (335, 273))
ROUNDS = 10
TOGETHER = 3
"""Plans that are loaded and measured in the same rounds."""


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
    """Seconds of a whole run at 1280x720, 8-bit pixels in and out. planned: bytes on the device that the plan
    says it takes; taken: by which the device's free memory shrank, None where the driver does not tell."""

    model: str
    plan: str
    build: float
    median: float
    minimum: float
    planned: int
    taken: int | None


@dataclass
class Found:
    """What a run has found so far. library: name and version of NVIDIA's, as the plans tell it."""

    checks: list[Check] = field(default_factory=list)
    times: list[Time] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    library: str = "no plan was built"


def steps(a: Pixels, b: Pixels) -> tuple[int, float]:
    """(largest difference, share of values within one) of 8-bit values."""
    apart = np.abs(a.astype(np.int16) - b)
    return int(apart.max()), float((apart <= 1).mean())


def attempt(make: Callable[[], list[Check]], model: str, precision: str, name: str) -> list[Check]:
    """The checks, or one that says which error came instead, whatever it was: GPUs to run this on are rare,
    and what was found before must not be lost."""
    try:
        return make()
    except Exception as error:
        code = error.code if isinstance(error, mimo_rt.Error) else type(error).__name__
        return [Check(model, precision, name, f"{code}: {gpu.reason(error)}", "no error", False)]


def grown(image: Pixels, smallest: tuple[int, int]) -> Pixels:
    """To the right and at the bottom to the least (height, width) that a plan takes, as it is grown for the
    plan (`mimo_rt.array_runner`), which sees that border: so must what it is compared with."""
    for axis in (0, 1):
        size = image.shape[axis]
        amount = max(smallest[axis] - size, 0)
        width = [(0, amount if a == axis else 0) for a in range(3)]
        image = np.pad(image, width, mode="reflect" if amount <= size - 1 else "edge")
    return image


def smallest_of(plan: mimo_rt.Engine) -> tuple[int, int]:
    """(height, width) that a plan of a range takes at least; the CPU engine takes everything."""
    return (1, 1) if plan.info.backend == "cpu" else shapes_for(None, plan.info.stride).smallest


def images_of(photo: Pixels) -> list[Pixels]:
    """The photo, and noise of odd sizes."""
    rng = np.random.default_rng(5)
    return [photo, *(rng.integers(0, 256, (*size, 3), np.uint8) for size in ODD)]


def unit(image: Pixels) -> NDArray[np.float32]:
    """In [0, 1]."""
    found: NDArray[np.float32] = image.astype(np.float32) / np.float32(255)
    return found


def parity(
    model: str, precision: str, plan: mimo_rt.Engine, reference: mimo_rt.Engine, photo: Pixels
) -> list[Check]:
    """On the photo and on odd sizes. `reference` runs the same file on the processor."""
    checks = []
    on_gpu, on_cpu = mimo_rt.Deblurrer(plan), mimo_rt.Deblurrer(reference)
    for image in images_of(photo):
        height, width = image.shape[:2]
        name, padded = f"{width}x{height}", grown(image, smallest_of(plan))
        if precision == "fp32":
            wanted = on_cpu.run(unit(padded))[:height, :width]
            checks.append(close(model, name, on_gpu.run(unit(image)), wanted))
        else:
            worst, share = steps(on_gpu.run(image), on_cpu.run(padded)[:height, :width])
            # Small images have few values, and those of an int8 plan move where a quantum flips.
            least = HALF_SHARE if precision == "fp16" and image.size > 10_000 else 0.95
            found = f"{100 * share:.3f} % within one step, {worst} at most"
            checks.append(Check(model, precision, name, found, f"{100 * least:g} %", share >= least))
    return checks


def close(model: str, name: str, got: NDArray[np.float32], wanted: NDArray[np.float32]) -> Check:
    """fp32 results that differ by next to nothing."""
    error = float(np.abs(got - wanted).max())
    return Check(model, "fp32", name, f"{error:.1e}", f"at most {FP32_ERROR:g}", error <= FP32_ERROR)


def pytorch_parity(model: str, plan: mimo_rt.Engine, file: Path, photo: Pixels) -> list[Check]:
    """fp32 against PyTorch, on the GPU where it has one, without TF32; nothing where PyTorch is not installed
    or the file's weights have not the names of train.export's."""
    try:
        import torch

        network = pytorch_network(file).eval()
    except (ImportError, mimo_rt.ModelError):
        return []
    gpu.without_tf32(torch)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = network.to(device)

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = network(torch.from_numpy(x).to(device)).cpu().numpy()
        return found

    deblurrer = mimo_rt.Deblurrer(plan)
    checks = []
    for image in images_of(photo):
        height, width = image.shape[:2]
        padded = unit(grown(image, smallest_of(plan)))
        wanted = run_padded(run, padded, plan.info.stride)[:height, :width]
        name = f"{width}x{height}, PyTorch on {device}"
        checks.append(close(model, name, deblurrer.run(unit(image)), wanted))
    return checks


def seams(model: str, precision: str, tiled: mimo_rt.Engine, whole: mimo_rt.Engine, image: Pixels) -> Check:
    """A plan of one small size against the plan of whole frames."""
    worst, share = steps(mimo_rt.Deblurrer(tiled).run(image), mimo_rt.Deblurrer(whole).run(image))
    found = f"{worst} steps at most, {100 * share:.3f} % within one"
    return Check(model, precision, "tiles against whole", found, f"{SEAM} steps", worst <= SEAM)


def tile_side(halo: int) -> int:
    """Of tiles that are mostly halo, so that an image has many."""
    return 2 * halo + 128


def largest_frame(photo: Pixels, reference: mimo_rt.Engine) -> Pixels:
    """The photo, mirrored on to the largest size that a plan of a range takes whole, and tiles do not."""
    info = reference.info
    size = shapes_for(None, info.stride, info.halo).largest
    amounts = [(0, most - side) for most, side in zip(size, photo.shape[:2], strict=True)]
    return np.pad(photo, [*amounts, (0, 0)], mode="symmetric")


def blocks_to_fuse(model: Path) -> int:
    """ResBlocks that our own kernel can take over."""
    import onnx

    from mimo_rt.fused_blocks import fuse_blocks
    from mimo_rt.half import to_half

    return fuse_blocks(to_half(onnx.load(str(model))))[1]


def with_options(
    model: str, file: Path, plain: mimo_rt.Engine, image: Pixels, title: str, given: dict[str, Any]
) -> tuple[Check, mimo_rt.Engine]:
    """A plan with options of `mimo_rt.build` that are off by default against one without, both fp16."""
    plan = mimo_rt.build(file, backend="tensorrt", precision="fp16", cache=False, **given)
    worst, share = steps(mimo_rt.Deblurrer(plan).run(image), mimo_rt.Deblurrer(plain).run(image))
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


Plan = tuple[str, str, mimo_rt.Engine, float]
"""Model, what the plan is, the plan, and the seconds that its build took."""


def measure(plans: Sequence[Plan], frame: Pixels) -> list[Time]:
    """All plans in every round, one after another."""
    deblurrers: list[mimo_rt.Deblurrer] = []
    taken: list[int | None] = []
    for _, _, engine, _ in plans:
        before = gpu_device.free_memory()
        deblurrers.append(mimo_rt.Deblurrer(engine))
        deblurrers[-1].run(frame)  # the first finishes the plan for the GPU
        after = gpu_device.free_memory()
        taken.append(None if before is None or after is None else before - after)
    seconds: list[list[float]] = [[] for _ in plans]
    for _ in range(ROUNDS):
        for deblurrer, found in zip(deblurrers, seconds, strict=True):
            start = time.perf_counter()
            deblurrer.run(frame)  # copies to the host at its end, so that it is over when it returns
            found.append(time.perf_counter() - start)
    return [
        Time(model, name, build, statistics.median(s), min(s), d.memory_for(*frame.shape[:2]), t)
        for (model, name, _, build), s, d, t in zip(plans, seconds, deblurrers, taken, strict=True)
    ]


def measure_all(plans: Sequence[Plan], frame: Pixels, times: list[Time]) -> list[Check]:
    """A few plans at a time, so that they fit; where they do not, one by one. Checks of what failed alone."""
    failed = []
    for first in range(0, len(plans), TOGETHER):
        group = plans[first : first + TOGETHER]
        try:
            times.extend(measure(group, frame))
        except Exception:  # told below, of the plan that it comes of
            for plan in group:
                model, name = plan[:2]

                def alone(plan: Plan = plan) -> list[Check]:
                    times.extend(measure([plan], frame))
                    return []

                failed += attempt(alone, model, name, "times")
    return failed


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
            f"{t['planned'] / 2**20:.0f}",
            "" if t["taken"] is None else f"{t['taken'] / 2**20:.0f}",
        ]
        for t in report["times"]
    ]
    device = ", ".join(f"{name} {value}" for name, value in report["device"].items()) or "no nvidia-smi"
    header = ["model", "plan", "build, s", "median ms", "minimum ms", "planned, MiB", "taken, MiB"]
    parts = [
        f"# GPU acceptance\n\nBackend {report['backend']}, {report['library']}; {device}; "
        f"mimo_rt {report['version']}, on {report['machine']['cpu']}.",
        pages.table(["model", "precision", "what", "found", "wanted", "passed"], checks),
        f"Whole runs at 1280x720, 8-bit pixels in and out, up to {TOGETHER} plans in the same rounds:",
        pages.table(header, times),
    ]
    for comparison in report["comparisons"]:
        parts += [f"{comparison['model']} beside others:", gpu.render(comparison)]
    return "\n\n".join(parts)


def file_of(model: str) -> Path:
    """Of a model's name, or a file as it is."""
    known = models.find(model)
    return known.path if known is not None else Path(model)


def examine(path: Path, backend: str, data: Path | None, folder: Path, report: Found) -> None:
    """All checks and times of one model into the report."""
    name = path.stem
    with Image.open(ROOT / "examples" / "blurred.jpg") as opened:
        photo = np.asarray(opened.convert("RGB"))[:720, :1280]
    frame = np.ascontiguousarray(np.resize(photo, (720, 1280, 3)))
    reference = mimo_rt.build(path, backend="cpu")
    wide, side = largest_frame(photo, reference), tile_side(reference.info.halo)
    plans: list[Plan] = [(name, "cpu fp32", reference, 0.0)]
    for precision in ("fp32", "fp16") if data is None else ("fp32", "fp16", "int8"):

        def one(precision: str = precision) -> list[Check]:
            on_cpu = backend == "cpu"
            quantized = int8_export(path, data, folder) if precision == "int8" and data is not None else None
            file = quantized or path
            same = mimo_rt.build(file, backend="cpu") if quantized else reference
            wanted = "fp32" if on_cpu and quantized else precision
            start = time.perf_counter()
            plan = mimo_rt.build(file, backend=backend, precision=wanted, cache=False)
            plans.append((name, f"{backend} {precision}", plan, time.perf_counter() - start))
            report.library = plan.info.target

            def tiles() -> list[Check]:
                tiled = mimo_rt.build(file, backend=backend, precision=wanted, tile=side, cache=False)
                return [seams(name, precision, tiled, plan, wide)]

            def lost() -> list[Check]:
                drop = psnr_drop(plan, reference, data) if data is not None else 0.0
                found, limit = f"{drop:+.3f} dB", f"at most {INT8_DROP} dB"
                return [Check(name, precision, "PSNR lost, GoPro", found, limit, drop <= INT8_DROP)]

            checks = attempt(
                lambda: parity(name, precision, plan, same, photo), name, precision, "beside the CPU"
            )
            if precision == "fp32":
                checks += attempt(
                    lambda: pytorch_parity(name, plan, file, photo), name, precision, "beside PyTorch"
                )
            if not on_cpu:
                checks += attempt(tiles, name, precision, "tiles against whole")
                checks += attempt(
                    lambda: sanitized(name, precision, plan, folder), name, precision, "compute-sanitizer"
                )
            if quantized:
                checks += attempt(lost, name, precision, "PSNR lost, GoPro")
            return checks

        report.checks += attempt(one, name, precision, "build")
    halves = [plan for _, title, plan, _ in plans if title == "tensorrt fp16"]
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
            check, plan = with_options(name, path, halves[0], wide, title, given)
            plans.append((name, f"tensorrt fp16, {title}", plan, time.perf_counter() - start))
            return [check, *sanitized(name, f"fp16, {title}", plan, folder)]

        report.checks += attempt(optional, name, "fp16", title)
    report.checks += measure_all(plans, frame, report.times)


def compare(path: Path, backend: str, report: Found) -> None:
    """What gpu.py finds at 1280x720; on the processor, where it is only to be sound, at a small size."""
    on_cpu = backend == "cpu"
    size, device = ((64, 96), "cpu") if on_cpu else ((720, 1280), "cuda")
    found = gpu.compare(path, [backend], size, ROUNDS, device)
    report.comparisons.append({"model": path.stem, "rounds": ROUNDS, "sizes": [found]})


def write(found: Found, given: argparse.Namespace) -> str:
    """All that was found so far, as JSON and as a page, which it returns."""
    report = pages.made_by(", ".join(given.models), 0)
    report |= {"backend": given.backend, "device": gpu_device.describe()} | asdict(found)
    pages.write_report(given.out / "acceptance.json", report)
    page = render(report)
    pages.write(given.out / "acceptance.md", page + "\n")
    return page


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
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # so that CUDA and nvidia-smi mean the same GPU
    a.out.mkdir(parents=True, exist_ok=True)
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        for what, work in (
            ("examination", lambda path: examine(path, a.backend, a.data, Path(folder), found)),
            ("comparison", lambda path: compare(path, a.backend, found)),
        ):
            for path in map(file_of, a.models):

                def step(path: Path = path, work: Callable[[Path], None] = work) -> list[Check]:
                    work(path)
                    return []

                try:
                    found.checks += attempt(step, path.stem, "", what)
                finally:  # also where it is interrupted
                    page = write(found, a)
    print(page)
    return 0 if all(check.passed for check in found.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
