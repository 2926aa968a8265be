"""Ours on a GPU beside the others, all synchronised, rounds interleaved, in one run.

``python benchmarks/gpu.py --model base.onnx [--backends tensorrt tensorrt-rtx] [--sizes 720x1280 2160x3840]``

Ours from 8-bit pixels of the host to 8-bit pixels of the host, and, where PyTorch is there, from a tensor
on the GPU to a tensor on the GPU; PyTorch eager and compiled in fp32 and fp16, ONNX Runtime with CUDA, from
a float32 tensor on the GPU to one there; trtexec on the same file, typed in fp16 for that row, by its own
clock. fp32 is fp32 for all of them: TF32, which ours does not use either, is off. What is missing is listed
as skipped, with the reason. ``--device cpu`` runs what can be run on the processor, to see that the script
is sound.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mimo_rt  # noqa: E402
from benchmarks import pages  # noqa: E402
from benchmarks.runtimes import pytorch_network  # noqa: E402
from mimo_rt.cli import options  # noqa: E402

Run = Callable[[], object]
"""One image; over when it returns."""
PRECISIONS = ("fp32", "fp16")
WARM_UPS = 3


def ours(model: Path, backend: str, height: int, width: int, torch: Any) -> Iterator[tuple[str, Run]]:
    """Pixels of the host, and pixels on the GPU."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for precision in PRECISIONS:
        deblurrer = mimo_rt.Deblurrer(mimo_rt.build(model, backend=backend, precision=precision))
        yield f"mimo_rt {backend} {precision}, host to host", lambda d=deblurrer: d.run(image)  # type: ignore[misc]
        if torch is not None and backend == "tensorrt":
            given = torch.from_numpy(image).cuda()
            out = torch.empty_like(given)

            def on_gpu(d: mimo_rt.Deblurrer = deblurrer, given: Any = given, out: Any = out) -> None:
                d.run(given, out=out)
                torch.cuda.synchronize()

            yield f"mimo_rt {backend} {precision}, on the GPU", on_gpu


def without_tf32(torch: Any) -> None:
    """Has PyTorch compute fp32 in fp32."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def pytorch(model: Path, height: int, width: int, device: str, torch: Any) -> Iterator[tuple[str, Run]]:
    """Eager and compiled, channels last in fp16, as its documentation advises."""
    without_tf32(torch)
    for precision in PRECISIONS if device == "cuda" else ("fp32",):
        network = pytorch_network(model).eval().to(device)
        x = torch.rand(1, 3, height, width, device=device)
        if precision == "fp16":
            network = network.half().to(memory_format=torch.channels_last)
            x = x.half().to(memory_format=torch.channels_last)
        for name, made in (("eager", network), ("compiled", torch.compile(network))):

            def run(made: Any = made, x: Any = x) -> None:
                with torch.inference_mode():
                    made(x)
                if device == "cuda":
                    torch.cuda.synchronize()

            yield f"PyTorch {torch.__version__} {name} {precision}", run


def onnxruntime(model: Path, height: int, width: int, device: str) -> Iterator[tuple[str, Run]]:
    """With its inputs and outputs bound to the device."""
    import onnxruntime as ort  # type: ignore[import-untyped,unused-ignore]

    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if provider not in ort.get_available_providers():
        raise LookupError(f"this onnxruntime has no {provider}")
    strict = {"use_tf32": "0"} if device == "cuda" else {}
    session = ort.InferenceSession(str(model), providers=[(provider, strict)])
    image = np.random.default_rng(0).random((1, 3, height, width), np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input(
        session.get_inputs()[0].name, ort.OrtValue.ortvalue_from_numpy(image, device, 0)
    )
    binding.bind_output(session.get_outputs()[0].name, device)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    yield f"ONNX Runtime {ort.__version__} {device} fp32", run


def trtexec(model: Path, precision: str, height: int, width: int) -> tuple[float, float]:
    """(median, minimum) of GPU compute in seconds, by its own report."""
    program = shutil.which("trtexec")
    if program is None:
        raise LookupError("trtexec is not on the PATH")
    known = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    if "--noTF32" not in known:
        raise LookupError("this trtexec has no --noTF32, and its fp32 is none")
    # Its options come and go with its versions; TensorRT 11 knows no other networks than typed ones.
    options = [o for o in ("--noTF32", "--stronglyTyped", "--useCudaGraph") if o in known]
    shape = f"image:1x3x{height}x{width}"
    options += [f"--{kind}Shapes={shape}" for kind in ("min", "opt", "max")]
    with tempfile.TemporaryDirectory() as folder:
        file = typed(model, precision, Path(folder))
        command = [program, f"--onnx={file}", f"--shapes={shape}", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return trtexec_times(done.stdout)


def typed(model: Path, precision: str, folder: Path) -> Path:
    """The file for TensorRT, which computes in the types that stand in it: an fp32 file as it is, or in half
    precision."""
    if precision == "fp32":
        return model
    import onnx

    from mimo_rt.half import to_half

    path = folder / f"{model.stem}.fp16.onnx"
    path.write_bytes(to_half(onnx.load(str(model))).SerializeToString())
    return path


def trtexec_times(report: str) -> tuple[float, float]:
    """From the text of its report; LookupError where it has none."""
    found = re.search(r"GPU Compute Time: min = ([\d.]+) ms.*?median = ([\d.]+) ms", report)
    if found is None:
        raise LookupError("trtexec gave no report")
    return float(found[2]) / 1e3, float(found[1]) / 1e3


def candidates(
    model: Path, backends: Sequence[str], height: int, width: int, device: str
) -> tuple[dict[str, Run], dict[str, str]]:
    """What can be run, and why the rest cannot."""
    runs: dict[str, Run] = {}
    skipped: dict[str, str] = {}
    try:
        import torch
    except ImportError:
        torch = None  # type: ignore[assignment]
    sources: dict[str, Callable[[], Iterator[tuple[str, Run]]]] = {
        f"mimo_rt {b}": lambda b=b: ours(model, b, height, width, torch)  # type: ignore[misc]
        for b in backends
    }
    if torch is not None:
        sources["PyTorch"] = lambda: pytorch(model, height, width, device, torch)
    sources["ONNX Runtime"] = lambda: onnxruntime(model, height, width, device)
    for name, source in sources.items():
        try:
            for title, run in source():
                for _ in range(WARM_UPS):
                    run()
                runs[title] = run
        except Exception as error:  # listed: a peer that does not run here is no reason to stop
            skipped[name] = reason(error)
    return runs, skipped


def reason(error: Exception) -> str:
    """In one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def timed(runs: dict[str, Run], rounds: int, skipped: dict[str, str]) -> list[dict[str, Any]]:
    """All runs in every round, one after another. One that fails is listed as skipped, and no longer run."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name in [name for name in runs if name not in skipped]:
            start = time.perf_counter()
            try:
                runs[name]()
            except Exception as error:  # as above
                skipped[name] = reason(error)
            else:
                seconds[name].append(time.perf_counter() - start)
    return [
        {"name": name, "median": statistics.median(found), "minimum": min(found)}
        for name, found in seconds.items()
        if name not in skipped
    ]


def compare(
    model: Path, backends: Sequence[str], size: tuple[int, int], rounds: int, device: str
) -> dict[str, Any]:
    """Everybody's times at one (height, width), and who is left out and why."""
    height, width = size
    runs, skipped = candidates(model, backends, height, width, device)
    rows = timed(runs, rounds, skipped)
    for precision in PRECISIONS if device == "cuda" else ():
        try:
            median, minimum = trtexec(model, precision, height, width)
            rows.append({"name": f"trtexec {precision}, GPU compute", "median": median, "minimum": minimum})
        except Exception as error:  # as above
            skipped[f"trtexec {precision}"] = reason(error)
    return {"height": height, "width": width, "rows": rows, "skipped": skipped}


def render(report: pages.Report) -> str:
    """A report of this script as Markdown."""
    parts = []
    for size in report["sizes"]:
        rows = [[r["name"], f"{1e3 * r['median']:.2f}", f"{1e3 * r['minimum']:.2f}"] for r in size["rows"]]
        parts.append(f"{size['width']}x{size['height']}, {report['rounds']} rounds:")
        parts.append(pages.table(["", "median ms", "minimum ms"], rows))
        parts += [f"Skipped: {name}: {why}" for name, why in size["skipped"].items()]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", type=Path, required=True, help="fp32 ONNX file that train.export wrote")
    parser.add_argument("--backends", nargs="*", default=["tensorrt", "tensorrt-rtx"])
    parser.add_argument("--sizes", nargs="+", type=options.size, default=[(720, 1280), (2160, 3840)])
    parser.add_argument("--rounds", type=options.at_least_one, default=20)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    a = parser.parse_args(arguments)
    sizes = [compare(a.model, a.backends, size, a.rounds, a.device) for size in a.sizes]
    report = pages.made_by(a.model.name, 0)
    report |= {"rounds": a.rounds, "sizes": sizes}
    pages.tell(render(report), report, a.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
