"""`mimo-rt info`: what a plan, an ONNX file or a model of a name is, for people or as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from mimo_rt import layer_profile
from mimo_rt.cli import OK, options
from mimo_rt.cli.table import table
from mimo_rt.sizes import format_bytes
from mimo_rt.untrusted import plain

if TYPE_CHECKING:
    from mimo_rt.engine import Engine

_COLUMNS = (
    "name",
    "op",
    "kernel",
    "block",
    "level",
    "channels",
    "kernel_size",
    "stride",
    "resampling",
    "epilogue",
    "macs_per_pixel",
)


_COSTS = layer_profile.COLUMNS[2:]


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "info",
        help="print what a plan or a model is",
        description="Print what a plan, an ONNX file or a model of a name is: size, work, how far it looks, "
        "layers.",
    )
    parser.add_argument("model", metavar="FILE_OR_NAME", help="plan, ONNX file or a model's name")
    parser.add_argument("--layers", action="store_true", help="list every layer, and time it by a run")
    parser.add_argument(
        "--size",
        type=options.size,
        default=(256, 256),
        metavar="HxW",
        help="image height x width for the times of --layers (default 256x256)",
    )
    parser.add_argument(
        *("-t", "--threads"),
        type=options.count,
        default=0,
        metavar="N",
        help="for the times; 0: all cores",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, on standard output")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    from mimo_rt.engine import open_engine

    engine = open_engine(args.model)
    info = engine.info
    if args.json:
        report = dataclasses.asdict(info)
        if args.layers:
            costs = _costs(engine, args)
            report["layers"] = [
                layer | ({} if cost is None else dataclasses.asdict(cost))
                for layer, cost in zip(engine.layers(), costs, strict=True)
            ]
        print(json.dumps(report, indent=2, default=str))
        return OK
    before, after = info.receptive_field
    rows = [
        ("model", args.model),
        ("parameters", f"{info.parameters:,}"),
        ("channels", f"{info.channels[0]} in, {info.channels[1]} out"),
        ("work", f"{info.macs_per_pixel / 1e6:.4f} M multiply-adds a pixel"),
        ("sees", f"{before} pixels before and {after} after each pixel"),
        ("stride", f"sizes are padded to multiples of {info.stride}"),
        ("weights", f"{format_bytes(info.packed_bytes)} packed, {info.precision}"),
        ("target", info.target),
        ("plan", f"{info.origin}, made by {info.producer}"),
        *((f"key.{name}", value) for name, value in info.key.items() if value),
        *((f"metadata.{plain(name)}", value) for name, value in sorted(info.metadata.items())),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {plain(value)}")
    if args.layers:
        print()
        costs = _costs(engine, args)
        cells = [
            _layer_row(layer) + (["-"] * len(_COSTS) if cost is None else cost.cells()[2:])
            for layer, cost in zip(engine.layers(), costs, strict=True)
        ]
        print(table(cells, [*_COLUMNS, *_COSTS]))
    return OK


def _costs(engine: Engine, args: argparse.Namespace) -> list[layer_profile.LayerCost] | list[None]:
    """The cost of every layer in the second of two runs on grey; none where the model takes no photograph."""
    import numpy as np

    from mimo_rt.deblurrer import Deblurrer

    if engine.info.channels != (3, 3):
        return [None] * len(engine.layers())
    height, width = args.size
    deblurrer = Deblurrer(engine, threads=args.threads)
    image = np.full((height, width, 3), 128, np.uint8)
    deblurrer.run(image)
    deblurrer.run(image)
    return layer_profile.layer_costs(engine.layers(), deblurrer.last_layer_times, height, width)


def _layer_row(layer: dict[str, Any]) -> list[str]:
    cells = dict(layer)
    into = f"{layer['in_channels']}>" if layer["in_channels"] else ""
    cells["channels"] = f"{into}{layer['out_channels']}"
    cells["level"] = f"1/{2 ** layer['level']}" if layer["level"] else "1"
    size = layer["kernel_size"]
    cells["kernel_size"] = "x".join(map(str, size)) if isinstance(size, (tuple, list)) else str(size)
    steps = layer["epilogue"]
    cells["epilogue"] = steps if isinstance(steps, str) else "+".join(map(str, steps))
    cells["macs_per_pixel"] = f"{layer['macs_per_pixel']:,.0f}"
    return [plain(str(cells[column])) for column in _COLUMNS]
