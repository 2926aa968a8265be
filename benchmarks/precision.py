"""What half and 8-bit exports of a model cost on real pairs.

``python benchmarks/precision.py --data DATA [--model M]``

Makes both exports from the fp32 one (8-bit ranges from the REDS pairs that training may see) and measures all
three on whole images of the 5-pair GoPro subset and of the REDS hold-out, in ONNX Runtime with every
optimisation off, so that nothing but the file's own arithmetic counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
import torch

from train.calibrate import METHODS
from train.holdout import REDS, Images, psnr, real_sets
from train.precision import BUDGET, check, half, int8, unfused
from train.sensitivity import as_markdown
from train.tiles import COUNT, read_tiles
from train.weights import weights_named

CALIBRATION, FIRST_HELD_OUT = REDS[0]
"""Where ranges are taken from, below the data folder, and its first pair that is in the hold-out."""


def psnrs(model: onnx.ModelProto, images: Images) -> list[float]:
    """PSNR of each image's result, in dB."""
    session = unfused(model)
    name = session.get_inputs()[0].name
    return [
        psnr(torch.from_numpy(session.run(None, {name: given[None].numpy()})[0][0]), wanted)
        for given, wanted in images
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds gopro_subset and reds_*")
    parser.add_argument("--model", default="mimo-unet-s", help="a model's name or an fp32 ONNX file")
    parser.add_argument("--method", choices=METHODS, default=METHODS[0])
    parser.add_argument("--budget", type=float, default=BUDGET, help="dB")
    parser.add_argument("--tiles", type=int, default=COUNT)
    parser.add_argument("--reds", type=int, help="REDS frames of each folder (default: all of the hold-out)")
    parser.add_argument("--json", type=Path)
    a = parser.parse_args(arguments)
    fp32 = onnx.load(str(weights_named(a.model)))
    tiles = read_tiles(a.data / CALIBRATION, a.tiles, last=FIRST_HELD_OUT)
    made = {"fp16": half(fp32, tiles), "int8": int8(fp32, tiles, a.method, a.budget)}
    report: dict[str, object] = {"model": a.model, "onnxruntime": onnxruntime.__version__, "method": a.method}
    for name, reduced in made.items():
        away = check(reduced.model, tiles.inputs[:2])
        size = len(reduced.model.SerializeToString())
        print(f"{name}: {size} bytes, {reduced.drop:.4f} dB on the tiles, {away:.1e} from ONNX Runtime")
    print(f"in float: {', '.join(made['int8'].in_float) or 'none but those that always are'}")
    for name, images in real_sets(a.data, None, a.reds).items():
        plain = psnrs(fp32, images)
        row = {"pairs": float(len(images)), "fp32": float(np.mean(plain))}
        for precision, reduced in made.items():
            change = np.array(psnrs(reduced.model, images)) - plain
            row |= {precision: float(change.mean()), f"{precision}_worst": float(change.min())}
        report[name] = row
        print(f"{name}: " + ", ".join(f"{key} {value:.4f}" for key, value in row.items()))
    print(as_markdown(made["int8"].rows))
    if a.json is not None:
        a.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
