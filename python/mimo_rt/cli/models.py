"""`mimo-rt models`: the models that ship with mimo_rt, and what each is in plain words."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from mimo_rt.cli import OK
from mimo_rt.sizes import format_bytes


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "models",
        help="list the models that ship with mimo_rt",
        description="List the models that ship with mimo_rt. Any other MIMO-UNet-like network works from "
        "its ONNX file.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, with hashes and paths")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    from mimo_rt.models import bundled

    if args.json:
        entries = [
            dataclasses.asdict(m) | {"id": m.id, "path": str(m.path), "card": str(m.card)} for m in bundled()
        ]
        print(json.dumps(entries, indent=2))
        return OK
    for model in bundled():
        print(f"{model.id}  ({format_bytes(model.bytes)})\n    {model.summary}\n    model card: {model.card}")
    if not bundled():
        print("this build holds no models; give an ONNX file by its path")
    return OK
