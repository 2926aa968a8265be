"""`mimo-rt bench`: time a model in the words and the layout of TensorRT's trtexec, so that its users feel at
home.

This verb alone spells its options in camelCase, as trtexec does. A query is one image of 8-bit pixels in, one
out.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimo_rt import benchmarking, layer_profile
from mimo_rt.cli import OK, UsageError, options
from mimo_rt.cli.table import table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mimo_rt.deblurrer import Deblurrer
    from mimo_rt.engine import Engine, EngineInfo

DEFAULT_MODEL = "mimo-unet-s"
DEFAULT_SHAPE = (720, 1280)

EXPLANATIONS = (
    "=== Explanations of the performance metrics ===",
    "Total Host Walltime: from the first timed query's start to the last one's end.",
    "Throughput: the number of timed queries divided by the Total Host Walltime.",
    "Peak Memory: the largest resident size of the whole process so far, interpreter and images included.",
)
PHASES = (
    "Total Compute Time: the sum of the compute times of all queries.",
    "Latency: the host's clock around one query, from pixels to pixels.",
    "Pre-processing: turning pixels into the network's first tensor, padding included.",
    "Compute Time: running the network.",
    "Post-processing: turning the network's last tensor into pixels, cropping included.",
)
"""Explanations of a trace without a GPU's times."""
DEVICE_PHASES = (
    "Total GPU Compute Time: the sum of the GPU compute times of all queries.",
    "Latency: H2D Latency, GPU Compute Time and D2H Latency of one query together.",
    "Enqueue Time: the host's time to hand a query's work to the GPU.",
    "H2D Latency, D2H Latency: the one copy of the whole image to the GPU and of the result back, by the"
    " GPU's events.",
    "GPU Compute Time: all of the GPU's work between the copies, by its events: turning pixels into tensors"
    " and back, and the network, on every tile.",
    "End-to-End Host Latency: the host's clock around one query, from pixels to pixels.",
)
"""Explanations of a trace with a GPU's times."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "bench",
        help="time a model, in trtexec's words",
        description="Time a model; report latency, throughput and memory in the words of TensorRT's trtexec.",
        allow_abbrev=False,
    )
    model = parser.add_argument_group("model options")
    source = model.add_mutually_exclusive_group()
    source.add_argument(
        *("-m", "--model"),
        metavar="MODEL",
        help=f"a model's name, an ONNX file or a plan file (default: {DEFAULT_MODEL})",
    )
    source.add_argument("--onnx", metavar="FILE", help="an ONNX file to build an engine from")
    source.add_argument("--loadEngine", metavar="FILE", help="a plan file, as --saveEngine writes it")

    build = parser.add_argument_group("build options")
    build.add_argument("--saveEngine", metavar="FILE", help="write the plan to this file")
    build.add_argument(
        "--target", metavar="NAME", help="instruction set to build for (default: the best one here)"
    )
    build.add_argument(
        "--tactics", metavar="NAME", help="fixed (default), f4, direct or search: which kernels"
    )
    build.add_argument(
        "--fp16", action="store_true", help="rows and weights in half precision, arithmetic in single"
    )
    build.add_argument("--int8", action="store_true", help="of an int8 export, on a GPU")
    build.add_argument("--backend", metavar="NAME", default="auto", help="auto, cpu, tensorrt, tensorrt-rtx")
    build.add_argument(
        "--builderOptimizationLevel",
        type=options.count,
        metavar="N",
        help="of a GPU plan: 0 (quick build) to 5 (fast run)",
    )
    build.add_argument("--noCache", action="store_true", help="build anew, and keep no plan in the cache")
    build.add_argument("--skipInference", action="store_true", help="stop once the engine is built and saved")

    inference = parser.add_argument_group("inference options")
    inference.add_argument(
        "--shapes",
        type=options.size,
        metavar="HxW",
        help="image height x width, such as 720x1280; NAME:1x3xHxW is understood as well"
        f" (default: {DEFAULT_SHAPE[0]}x{DEFAULT_SHAPE[1]})",
    )
    inference.add_argument("--loadInputs", metavar="FILE", help="an image to run on instead of random pixels")
    inference.add_argument(
        *("-t", "--threads"), type=options.count, default=0, metavar="N", help="0 for all cores (default)"
    )
    inference.add_argument(
        "--memory", type=options.memory, metavar="SIZE", help="most that a run may allocate: 512M, 2G"
    )
    inference.add_argument(
        "--warmUp",
        type=options.count,
        default=200,
        metavar="MS",
        help="milliseconds before timing begins (default 200)",
    )
    inference.add_argument(
        "--duration", type=_seconds, default=3.0, metavar="S", help="time for at least S seconds (default 3)"
    )
    inference.add_argument(
        "--iterations",
        type=_at_least(1),
        default=10,
        metavar="N",
        help="time at least N queries (default 10)",
    )

    reporting = parser.add_argument_group("reporting options")
    reporting.add_argument(
        "--avgRuns",
        type=_at_least(1),
        default=10,
        metavar="N",
        help="queries a line of the trace (default 10)",
    )
    reporting.add_argument(
        "--percentile",
        type=_percentages,
        default=[90.0, 95.0, 99.0],
        metavar="P[,P...]",
        help="percentages to report (default 90,95,99)",
    )
    reporting.add_argument("--verbose", action="store_true", help="explain the metrics, list the layers")
    reporting.add_argument("--dumpLayerInfo", action="store_true", help="list the layers and their tactics")
    reporting.add_argument("--exportLayerInfo", metavar="FILE", help="write the layers to a JSON file")
    reporting.add_argument(
        "--exportTimes", metavar="FILE", help="write the times of every query to a JSON file"
    )
    reporting.add_argument(
        "--dumpProfile", action="store_true", help="print the time, share and rates of every layer"
    )
    reporting.add_argument("--exportProfile", metavar="FILE", help="write the profile to a JSON file")
    reporting.add_argument("--exportOutput", metavar="FILE", help="write the output's pixels to a JSON file")
    reporting.add_argument(
        "--json", action="store_true", help="print the report as JSON; the usual text goes to standard error"
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Runs the verb; errors of the library are announced and passed on."""
    from mimo_rt import _core

    log = _Log(sys.stderr if args.json else sys.stdout)
    name = f"mimo_rt.bench [mimo_rt {_core.__version__}] # {shlex.join(['mimo-rt', *sys.argv[1:]])}"
    log.plain(f"&&&& RUNNING {name}")
    try:
        report = _bench(args, log)
    except Exception:
        log.plain(f"&&&& FAILED {name}")
        raise
    log.plain(f"&&&& PASSED {name}")
    if args.json:
        print(json.dumps(report, indent=2))
    return OK


def _bench(args: argparse.Namespace, log: _Log) -> dict[str, object]:
    from mimo_rt import machine
    from mimo_rt.deblurrer import Deblurrer
    from mimo_rt.engine import GPU_BACKENDS
    from mimo_rt.sizes import format_bytes

    facts = machine.describe()
    memory_before = benchmarking.peak_memory()
    image = _load_image(args.loadInputs) if args.loadInputs else None
    if image is not None and args.shapes is not None and args.shapes != image.shape[:2]:
        raise UsageError(f"--shapes does not fit the image, which is {image.shape[0]}x{image.shape[1]}")
    _log_options(args, log, image)

    start = time.perf_counter()
    engine = _engine(args)
    engine_seconds = time.perf_counter() - start
    info = engine.info
    _log_machine(log, facts, info)
    log.info(f"Engine ready in {engine_seconds:.6g} sec. ({info.origin})")
    if args.saveEngine:
        engine.save(args.saveEngine)
        log.info(f"Saved engine with {Path(args.saveEngine).stat().st_size} bytes to {args.saveEngine}")
    report: dict[str, object] = {
        "model": args.onnx or args.loadEngine or args.model or DEFAULT_MODEL,
        "instructionSet": info.target,
        "precision": info.precision,
        "engine": {
            "origin": info.origin,
            "seconds": engine_seconds,
            "key": info.key,
            "producer": info.producer,
        },
        "versions": _versions(),
        "machine": facts,
    }
    _layers(args, log, engine, report)
    if args.skipInference:
        _device_layers(args, log, engine, lambda: Deblurrer(engine))
        log.info("Skipped inference phase since --skipInference is added.")
        return report

    if image is None:
        image = _random_image(*(args.shapes or DEFAULT_SHAPE))
    deblurrer = Deblurrer(engine, threads=args.threads, memory=args.memory)
    _device_layers(args, log, engine, lambda: deblurrer)
    output = image.copy()
    planned = deblurrer.memory_for(*image.shape[:2])
    memory_loaded = benchmarking.peak_memory()

    on_device = info.backend in GPU_BACKENDS
    profiled = args.dumpProfile or args.exportProfile
    profile = layer_profile.Sum(deblurrer) if profiled and not on_device else None

    def query() -> benchmarking.Phases:
        deblurrer.run(image, out=output)
        if profile is not None:
            profile.add_last_run()
        times = deblurrer.last_times
        device = deblurrer.last_device_times
        return benchmarking.Phases(
            1000 * times["input"],
            1000 * times["compute"],
            1000 * times["output"],
            benchmarking.DeviceTimes(**device) if device else None,
        )

    log.info(f"Starting inference on {deblurrer.threads} threads")
    trace = benchmarking.measure(
        query, warm_up=args.warmUp, duration=args.duration, iterations=args.iterations
    )
    memory_after = benchmarking.peak_memory()
    log.info(f"Warmup completed {trace.warm_up_runs} queries over {trace.warm_up:.0f} ms")
    log.info(f"Timing trace has {len(trace.timings)} queries over {trace.walltime / 1000:.6g} s")
    log.section(benchmarking.trace_lines(trace, args.avgRuns))
    log.section(benchmarking.summary_lines(trace, args.percentile))
    if profile is not None:
        costs = profile.costs(*image.shape[:2])
        report["profile"] = [asdict(cost) for cost in costs]
        if args.dumpProfile:
            rows = [cost.cells() for cost in costs]
            log.section(["=== Profile ===", *table(rows, list(layer_profile.COLUMNS)).splitlines()])
        if args.exportProfile:
            _write_json(args.exportProfile, report["profile"])
    if on_device and profiled:
        by_layer = deblurrer.device_profile(*image.shape[:2])
        _device_profile(args, log, report, layer_profile.device_rows(by_layer))
    if memory_after is not None and memory_loaded is not None and memory_before is not None:
        log.info(
            f"Peak Memory: {format_bytes(memory_after)}"
            f" (before the engine {format_bytes(memory_before)}, with it {format_bytes(memory_loaded)});"
            f" a run may allocate {format_bytes(planned)}"
        )
    notes = benchmarking.warnings(trace)
    for note in notes:
        log.warn(f"* {note}")
    if args.verbose:
        told = benchmarking.END_TO_END in benchmarking.quantities(trace.timings)
        log.section([*EXPLANATIONS, *(DEVICE_PHASES if told else PHASES)])
    else:
        log.info("Explanations of the performance metrics are printed with --verbose.")
    if args.exportTimes:
        _write_json(args.exportTimes, benchmarking.times_json(trace))
    if args.exportOutput:
        _write_json(args.exportOutput, [_output_json(output)])
    report |= {
        "threads": deblurrer.threads,
        "image": {"height": image.shape[0], "width": image.shape[1], "dtype": str(image.dtype)},
        "memory": {
            "peakBefore": memory_before,
            "peakWithEngine": memory_loaded,
            "peak": memory_after,
            "planned": planned,
        },
        "performance": benchmarking.summary_json(trace, args.percentile),
        "warnings": notes,
    }
    return report


def _engine(args: argparse.Namespace) -> Engine:
    from mimo_rt.engine import Engine, build, open_engine

    if args.loadEngine:
        if args.fp16 or args.int8 or args.target or args.tactics:
            raise UsageError(
                "--fp16, --int8, --target and --tactics say how a plan is built; --loadEngine reads one"
            )
        return Engine.load(args.loadEngine)
    model = args.onnx or args.model or DEFAULT_MODEL
    plain = args.target is None and args.tactics is None and args.builderOptimizationLevel is None
    if plain and not args.onnx and not args.fp16 and not args.int8:
        return open_engine(model, backend=args.backend, cache=not args.noCache)
    # As a path, so that --onnx never means a bundled model's name.
    return build(
        Path(model) if args.onnx else model,
        backend=args.backend,
        optimization_level=args.builderOptimizationLevel,
        target=args.target,
        tactics=args.tactics or "fixed",
        precision=_precision(args),
        cache=not args.noCache,
    )


def _precision(args: argparse.Namespace) -> str:
    return "int8" if args.int8 else "fp16" if args.fp16 else "fp32"


def _log_options(args: argparse.Namespace, log: _Log, image: NDArray[np.uint8] | None) -> None:
    height, width = image.shape[:2] if image is not None else args.shapes or DEFAULT_SHAPE
    log.info("=== Model Options ===")
    log.info(f"Format: {'Plan' if args.loadEngine else 'ONNX' if args.onnx else 'by content'}")
    log.info(f"Model: {args.onnx or args.loadEngine or args.model or DEFAULT_MODEL}")
    log.info("=== Build Options ===")
    log.info(f"Precision: {'FP32+FP16' if args.fp16 else _precision(args).upper()}")
    log.info(f"Instruction set: {args.target or 'best available'}")
    log.info(f"Tactics: {args.tactics or 'fixed'}")
    log.info(f"Plan cache: {'Disabled' if args.noCache or args.loadEngine else 'Enabled'}")
    log.info(f"Skip inference: {_enabled(args.skipInference)}")
    log.info(f"Save engine: {args.saveEngine or ''}")
    log.info(f"Load engine: {args.loadEngine or ''}")
    log.info("=== System Options ===")
    backend = "CPU" if args.backend in ("auto", "cpu") else args.backend
    log.info(f"Backend: {'of the plan' if args.loadEngine else backend}")
    log.info(f"Threads: {args.threads or 'all cores'}")
    log.info("=== Inference Options ===")
    log.info(f"Input inference shape: {height}x{width}, 8-bit pixels")
    log.info(f"Iterations: {args.iterations}")
    log.info(f"Duration: {args.duration:g}s (+ {args.warmUp}ms warm up)")
    log.info(f"Memory bound: {args.memory or 'none'}")
    log.info(f"Inputs: {args.loadInputs or 'random pixels'}")
    log.info("=== Reporting Options ===")
    log.info(f"Verbose: {_enabled(args.verbose)}")
    log.info(f"Averages: {args.avgRuns} inferences")
    log.info(f"Percentiles: {','.join(f'{p:g}' for p in args.percentile)}")
    log.info(f"Dump layer information: {_enabled(args.dumpLayerInfo or args.verbose)}")
    log.info(f"Export layer information to JSON file: {args.exportLayerInfo or ''}")
    log.info(f"Dump profile: {_enabled(args.dumpProfile)}")
    log.info(f"Export profile to JSON file: {args.exportProfile or ''}")
    log.info(f"Export timing to JSON file: {args.exportTimes or ''}")
    log.info(f"Export output to JSON file: {args.exportOutput or ''}")


def _log_machine(log: _Log, facts: dict[str, Any], info: EngineInfo) -> None:
    from mimo_rt.engine import GPU_BACKENDS
    from mimo_rt.sizes import format_bytes

    log.info("=== Device Information ===")
    if info.backend in GPU_BACKENDS:
        log.info(f"Selected Device: {info.key.get('GPU', 'a GPU; this backend does not tell which')}")
        log.info(f"Library: {info.target}")
        if info.backend == "tensorrt":
            log.info("CUDA Graph: Tried; whether the plan was captured is not told")
        pixels = "8-bit pixels" if info.backend == "tensorrt" else "float32 arrays"
        log.info(f"Data transfers: Enabled, {pixels} in and out")
        log.info(f"Processor: {facts['cpu']}")
    else:
        log.info(f"Selected Device: {facts['cpu']}")
        log.info(f"Instruction set: {info.target}")
    log.info(f"Cores: {facts['cores']}")
    if facts["caches"]:
        log.info("Caches: " + ", ".join(f"{level} {format_bytes(n)}" for level, n in facts["caches"].items()))
    if facts["memory"]:
        log.info(f"Memory: {format_bytes(facts['memory'])}")
    log.info("Versions: " + ", ".join(f"{name} {version}" for name, version in _versions().items()))
    log.info(f"System: {facts['system']}")


def _device_profile(
    args: argparse.Namespace, log: _Log, report: dict[str, object], rows: list[dict[str, Any]]
) -> None:
    """trtexec's table, and its JSON."""
    if not rows:
        log.warn("* This backend does not tell what its layers take.")
        return
    report["profile"] = rows
    if args.dumpProfile:
        cells = [
            [f"{row[key]:.4g}" for key in ("timeMs", "averageMs", "medianMs", "percentage")] + [row["name"]]
            for row in rows[1:]
        ]
        header = ["Time(ms)", "Avg.(ms)", "Median(ms)", "Time(%)", "Layer"]
        title = f"=== Profile ({rows[0]['count']} iterations ) ==="
        log.section([title, *table(cells, header).splitlines()])
    if args.exportProfile:
        _write_json(args.exportProfile, rows)


def _device_layers(
    args: argparse.Namespace, log: _Log, engine: Engine, loaded: Callable[[], Deblurrer]
) -> None:
    """What the library says of a GPU plan's layers, as it says it. loaded: only called where it is asked."""
    from mimo_rt.engine import GPU_BACKENDS

    if engine.info.backend not in GPU_BACKENDS:
        return
    if not (args.dumpLayerInfo or args.verbose or args.exportLayerInfo):
        return
    text = loaded().device_layers()
    if not text:
        log.warn("* This backend does not tell what its layers are.")
        return
    layers = json.loads(text)
    if args.dumpLayerInfo or args.verbose:
        log.info("=== Layer Information ===")
        for layer in layers.get("Layers", []):
            log.info(layer if isinstance(layer, str) else json.dumps(layer))
    if args.exportLayerInfo:
        _write_json(args.exportLayerInfo, layers)


def _layers(args: argparse.Namespace, log: _Log, engine: Engine, report: dict[str, object]) -> None:
    from mimo_rt.engine import GPU_BACKENDS

    if engine.info.backend in GPU_BACKENDS:
        return  # known where the plan is loaded: `_device_layers`
    if not (args.dumpLayerInfo or args.verbose or args.exportLayerInfo):
        return
    layers = engine.layers()
    report["layers"] = layers
    if args.dumpLayerInfo or args.verbose:
        log.info("=== Layer Information ===")
        for layer in layers:
            log.info(", ".join(f"{key}: {value}" for key, value in layer.items()))
    if args.exportLayerInfo:
        _write_json(args.exportLayerInfo, layers)


def _versions() -> dict[str, str]:
    import platform

    import numpy as np

    from mimo_rt import _core

    return {"mimo_rt": _core.__version__, "Python": platform.python_version(), "NumPy": np.__version__}


def _load_image(name: str) -> NDArray[np.uint8]:
    """An image file as 8-bit RGB, upright."""
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    from mimo_rt.errors import ImageError, make

    try:
        with Image.open(name) as opened:
            upright = ImageOps.exif_transpose(opened)
            return np.array((upright or opened).convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise make(ImageError, "image.decode", f"cannot read {name}: {error}") from error


def _random_image(height: int, width: int) -> NDArray[np.uint8]:
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def _output_json(output: NDArray[np.uint8]) -> dict[str, object]:
    return {
        "name": "output",
        "dimensions": "x".join(str(n) for n in output.shape),
        "values": output.ravel().tolist(),
    }


def _write_json(name: str, value: object) -> None:
    from mimo_rt.image_io import write_file

    write_file(Path(name), (json.dumps(value) + "\n").encode(), overwrite=True)


class _Log:
    """Lines as trtexec prints them: time, severity, text."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def plain(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def info(self, text: str) -> None:
        self._line("I", text)

    def warn(self, text: str) -> None:
        self._line("W", text)

    def section(self, lines: Any) -> None:
        self.info("")
        for line in lines:
            self.info(line)

    def _line(self, severity: str, text: str) -> None:
        self.plain(f"[{time.strftime('%m/%d/%Y-%H:%M:%S')}] [{severity}] {text}".rstrip())


def _enabled(value: object) -> str:
    return "Enabled" if value else "Disabled"


def _percentages(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of percentages, such as 90,95,99") from None
    if not all(0 <= value <= 100 for value in values):
        raise argparse.ArgumentTypeError(f"{text!r}: percentages lie between 0 and 100")
    return values


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return value

    return number
