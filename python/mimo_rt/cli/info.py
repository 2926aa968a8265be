"""`mimo-rt info`: what a plan, an ONNX file or a bundled model is, for people or as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from mimo_rt.cli import OK
from mimo_rt.sizes import format_bytes

_COLUMNS = (
    "name",
    "op",
    "kernel",
    "block",
    "level",
    "channels",
    "kernel_size",
    "stride",
    "epilogue",
    "macs_per_pixel",
)


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "info",
        help="print what a plan or a model is",
        description="Print what a plan, an ONNX file or a bundled model is: size, work, how far it looks, "
        "layers.",
    )
    parser.add_argument("model", metavar="FILE_OR_NAME", help="plan, ONNX file or bundled model")
    parser.add_argument("--layers", action="store_true", help="list every layer")
    parser.add_argument("--json", action="store_true", help="as JSON, on standard output")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    from mimo_rt.engine import open_engine

    engine = open_engine(args.model)
    info = engine.info
    if args.json:
        report = dataclasses.asdict(info)
        if args.layers:
            report["layers"] = engine.layers()
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
        *((f"metadata.{name}", value) for name, value in sorted(info.metadata.items())),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {' '.join(value.split())}")
    if args.layers:
        print()
        print(table([_layer_row(layer) for layer in engine.layers()], list(_COLUMNS)))
    return OK


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
    return [str(cells[column]) for column in _COLUMNS]


def table(rows: list[list[str]], header: list[str]) -> str:
    """Columns as wide as what is in them; numbers to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    numeric = [
        bool(rows) and all(row[i].replace(",", "").isdigit() for row in rows) for i in range(len(header))
    ]

    def line(row: list[str]) -> str:
        cells = [
            cell.rjust(w) if n else cell.ljust(w) for cell, w, n in zip(row, widths, numeric, strict=True)
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), *(line(row) for row in rows)])
