"""`mimo-rt build`: an ONNX file made ready for this machine, as a plan file."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from mimo_rt.cli import OK, UsageError, options
from mimo_rt.cli.console import Console
from mimo_rt.sizes import format_bytes


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "build",
        help="make a plan for this machine from an ONNX model",
        description="Make a plan for this machine from an ONNX model. Plans are cached by themselves; a "
        "plan file is "
        "for those who want to keep or move one.",
    )
    parser.add_argument("model", metavar="MODEL", help="ONNX file or a model's name")
    parser.add_argument("-o", "--output", required=True, metavar="PLAN", help="where to write the plan")
    parser.add_argument("--backend", default="auto", help="auto (default), cpu, tensorrt or tensorrt-rtx")
    parser.add_argument(
        "--precision",
        default="fp32",
        help="fp32 (default), or fp16: half the memory for rows and weights; on a GPU int8 of an int8 export",
    )
    parser.add_argument(
        "--tile", type=options.sides, help="of a GPU plan: the one size it takes, as 512 or 720x1280"
    )
    parser.add_argument(
        "--batch",
        type=options.count,
        default=1,
        help="of a TensorRT plan of one size: tiles that are computed at once (1)",
    )
    parser.add_argument(
        "--optimization-level", type=options.count, help="of a GPU plan: 0 (quick build) to 5 (fast run)"
    )
    parser.add_argument(
        "--keep-fp32",
        nargs="+",
        default=(),
        metavar="LAYER",
        help="of a GPU plan in fp16: layers that stay in fp32, or auto to have them found",
    )
    parser.add_argument(
        "--fused-blocks",
        action="store_true",
        help="of a TensorRT plan in fp16: ResBlocks by our own kernel (not known to be faster)",
    )
    parser.add_argument(
        "--half-images",
        action="store_true",
        help="of a TensorRT plan in fp16: images go through the network's ends in fp16 too: less to move, "
        "11 bits of brightness",
    )
    parser.add_argument(
        "--target", help="instruction set by name; `mimo-rt doctor` lists them (the best one here)"
    )
    parser.add_argument(
        "--tactics",
        default="fixed",
        help="fixed (default), f4, direct (the reference) or search (by the clock)",
    )
    parser.add_argument(
        "--no-cache", dest="cache", action="store_false", help="neither read nor write the plan cache"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    from mimo_rt.engine import build

    target = Path(args.output)
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name the plan file")
    if target.exists() and not args.force:
        raise UsageError(f"{target} exists already; --force overwrites it")
    start = time.perf_counter()
    engine = build(
        args.model,
        backend=args.backend,
        precision=args.precision,
        target=args.target,
        tactics=args.tactics,
        tile=args.tile,
        batch=args.batch,
        optimization_level=args.optimization_level,
        keep_fp32="auto" if list(args.keep_fp32) == ["auto"] else args.keep_fp32,
        fused_blocks=args.fused_blocks,
        half_images=args.half_images,
        cache=args.cache,
    )
    engine.save(target)
    info = engine.info
    Console(args.quiet).say(
        f"{args.model} -> {target}: {format_bytes(target.stat().st_size)}, {info.precision} on "
        f"{info.target}, "
        f"{info.origin}, {time.perf_counter() - start:.2f} s"
    )
    return OK
