"""`mimo-rt import`: a checkpoint of PyTorch or MindSpore becomes an ONNX file that everything here runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mimo_rt.cli import OK, UsageError
from mimo_rt.cli.console import Console
from mimo_rt.sizes import format_bytes


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "import",
        help="make an ONNX file from a checkpoint of PyTorch or MindSpore",
        description="Make an ONNX file from a MIMO-UNet checkpoint: PyTorch's (.pkl, .pt, .pth), safetensors "
        "or MindSpore's (.ckpt). Nothing in the file is executed. A checkpoint can also be used as it is "
        "wherever a model is asked for.",
    )
    parser.add_argument("file", metavar="FILE", help="the checkpoint")
    parser.add_argument("-o", "--output", metavar="X.onnx", help="where to write (FILE's name with .onnx)")
    parser.add_argument(
        "--resample",
        choices=("nearest", "bilinear"),
        help="how features are enlarged: bilinear for weights trained in MindSpore's port (the default of "
        "its checkpoints), else nearest",
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument("--json", action="store_true", help="what was found, on standard output")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    from mimo_rt.convert import convert
    from mimo_rt.image_io import write_file

    source = Path(args.file)
    target = Path(args.output) if args.output else source.with_suffix(".onnx")
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name the ONNX file")
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target} is the checkpoint itself; name another file for the ONNX file")
    if target.exists() and not args.force:
        raise UsageError(f"{target} exists already; --force overwrites it")
    found = convert(source, resample=args.resample)
    write_file(target, found.onnx, overwrite=args.force)
    read, shape = found.checkpoint, found.shape
    if args.json:
        facts = {
            "input": str(source),
            "output": str(target),
            "format": read.format,
            "preset": shape.preset,
            "width": shape.width,
            "blocks": list(shape.blocks),
            "resample": found.resample,
            "entry": read.wrapper,
            "prefix": read.prefix,
            "ignored": read.ignored,
        }
        print(json.dumps(facts, indent=2))
    blocks = "/".join(map(str, shape.blocks))
    ignored = f"; {read.ignored} other tensors ignored" if read.ignored else ""
    Console(args.quiet).say(
        f"{source} -> {target}: {shape.preset} (width {shape.width}, {blocks} blocks, {found.resample}), "
        f"{read.format} format, {format_bytes(len(found.onnx))}{ignored}"
    )
    return OK
