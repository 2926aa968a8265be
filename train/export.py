"""Export to ONNX: ``python -m train.export --preset mimo-unet-s --weights FILE -o mimo-unet-s.onnx``.

Writes the full-resolution output as an fp32 ONNX file with free batch, height and width (input ``image``,
output ``deblurred``, both NCHW in [0, 1], height and width divisible by 4, or by 8 or 16 for two or three
scales), checks it with onnx.checker and against ONNX Runtime, and writes nothing where the two disagree by
more than 1e-5.
``--lively SEED`` takes random weights of trained size instead of a file: what error figures are measured on.

``--precision fp16`` or ``int8`` writes the same network in half precision, or with 8-bit convolutions whose
ranges come from the images of ``--calib``; see docs/precision.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped,unused-ignore]
import torch
from numpy.typing import NDArray

from mimo_rt import network
from mimo_rt.errors import Error
from mimo_rt.temporary import replace_whole
from train.calibrate import METHODS
from train.model import PRESETS, FullResolution, MIMOUNet, lively_init
from train.precision import BUDGET, PRECISIONS, Reduced, half, int8
from train.precision import check as check_reduced
from train.sensitivity import as_csv, as_markdown, as_text
from train.tiles import COUNT, read_tiles
from train.weights import load_weights

INPUT = "image"
OUTPUT = "deblurred"
OPSET = 17
TOLERANCE = 1e-5


class ExportError(RuntimeError):
    """An export that failed its checks; nothing was written."""


@dataclass(frozen=True)
class Labels:
    """What is written into the file's metadata beside the network's own."""

    version: str = "0"
    name: str = ""
    licence: str = ""
    description: str = ""


def _arrays(net: MIMOUNet) -> dict[str, NDArray[np.float32]]:
    return {name: value.detach().cpu().numpy() for name, value in net.state_dict().items()}


def to_onnx(net: MIMOUNet, *, dynamo: bool = False) -> onnx.ModelProto:
    """The network as an unchecked ONNX model. ``dynamo``: by PyTorch's newer exporter (onnxscript).

    A network that resamples bilinearly, which PyTorch has no operator for, and one of several scales, whose
    weights PyTorch would write twice, are written by `mimo_rt.network`.
    """
    if net.resample != "nearest" or net.scales != 1:
        return onnx.load_from_string(network.to_onnx(_arrays(net), resample=net.resample))
    module = FullResolution(net).eval()
    example = torch.zeros(1, 3, 64, 96)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if dynamo:
            height, width = torch.export.Dim("h4", min=2), torch.export.Dim("w4", min=2)
            program = torch.onnx.export(
                module,
                (example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=18,
                dynamo=True,
                dynamic_shapes={"image": {2: 4 * height, 3: 4 * width}},
                verbose=False,
            )
            assert program is not None
            return program.model_proto
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            torch.onnx.export(
                module,
                (example,),
                path,
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=False,
                dynamic_axes={
                    INPUT: {0: "batch", 2: "height", 3: "width"},
                    OUTPUT: {0: "batch", 2: "height", 3: "width"},
                },
            )
            return onnx.load(path)


def label(model: onnx.ModelProto, net: MIMOUNet, labels: Labels) -> None:
    """Write the metadata: the network's own (`mimo_rt.network.own_metadata`), and the labels."""
    entries = network.own_metadata(_arrays(net), net.shape, net.resample) | {
        "mimo_rt.version": labels.version,
        "mimo_rt.name": labels.name,
        "mimo_rt.licence": labels.licence,
        "mimo_rt.description": labels.description,
    }
    del model.metadata_props[:]
    for key, value in entries.items():
        if value:
            model.metadata_props.add(key=key, value=value)
    model.producer_name = "mimo_rt train.export"
    model.producer_version = torch.__version__
    for node in model.graph.node:  # source locations of the machine that exported
        node.doc_string = ""
        del node.metadata_props[:]


def check(model: onnx.ModelProto, net: MIMOUNet) -> float:
    """Largest difference from ONNX Runtime over a few sizes; raises ExportError beyond the tolerance."""
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    net.eval()
    worst = 0.0
    stride = net.shape.stride
    for seed, (height, width) in enumerate([(64, 64), (5 * stride, 7 * stride), (stride, 128)]):
        generator = torch.Generator().manual_seed(seed)
        image = torch.rand(1, 3, height, width, generator=generator)
        with torch.no_grad():
            wanted = net(image)[2].numpy()
        given = session.run([OUTPUT], {INPUT: image.numpy()})[0]
        if given.shape != wanted.shape or not np.isfinite(given).all():
            raise ExportError(
                f"ONNX Runtime returned {given.shape} at {height}x{width}, or numbers that are not finite"
            )
        worst = max(worst, float(np.abs(given - wanted).max()))
    if worst > TOLERANCE:
        raise ExportError(
            f"ONNX Runtime differs from PyTorch by {worst:.2e}, more than {TOLERANCE:g}: not written"
        )
    return worst


def export(net: MIMOUNet, path: Path, labels: Labels, *, dynamo: bool = False) -> float:
    """Export, label, check, and only then write ``path``. Returns the difference from ONNX Runtime."""
    model, worst = checked(net, labels, dynamo=dynamo)
    write(path, model)
    return worst


def checked(net: MIMOUNet, labels: Labels, *, dynamo: bool = False) -> tuple[onnx.ModelProto, float]:
    """The labelled fp32 model and its difference from ONNX Runtime; raises ExportError where that is too
    much."""
    model = to_onnx(net, dynamo=dynamo)
    label(model, net, labels)
    return model, check(model, net)


def write(path: Path, model: onnx.ModelProto) -> None:
    """The file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(path, model.SerializeToString())


@dataclass(frozen=True)
class Reduction:
    """How to make less precision of an export."""

    precision: str
    calib: Path | None
    method: str
    budget: float
    tiles: int
    table: Path | None
    force: bool


def reduced(fp32: onnx.ModelProto, how: Reduction) -> tuple[Reduced, float]:
    """``fp32`` in less precision and its difference from ONNX Runtime, checked, its table written.

    Raises ExportError where it costs more than the budget, unless forced.
    """
    tiles = read_tiles(how.calib, how.tiles) if how.calib is not None else None
    if how.precision == "fp16":
        made = half(fp32, tiles)
    elif tiles is None:
        raise ExportError("int8 needs --calib DIR: a folder of images, or of pairs, to take ranges from")
    else:
        made = int8(fp32, tiles, how.method, how.budget, _progress)
    if how.table is not None:
        replace_whole(how.table, (as_csv if how.table.suffix == ".csv" else as_markdown)(made.rows).encode())
    if made.drop is not None and made.drop > how.budget and not how.force:
        raise ExportError(
            f"{how.precision} costs {made.drop:.3f} dB on {how.calib}, more than the budget of "
            f"{how.budget:g} dB: not written; a larger --budget or --force writes it all the same"
        )
    return made, check_reduced(made.model, tiles.inputs[:2] if tiles is not None else [])


def _progress(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\rlayer {done} of {total}", end=end, file=sys.stderr, flush=True)


def main() -> None:
    """Entry of ``python -m train.export``."""
    parser = argparse.ArgumentParser(prog="python -m train.export", description=__doc__)
    parser.add_argument(
        "--preset",
        choices=list(PRESETS),
        help="with --lively: which network; with --weights: what it must be",
    )
    parser.add_argument(
        "--resample", choices=network.RESAMPLINGS, default="nearest", help="how features are enlarged"
    )
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--weights", type=Path, help="checkpoint: ours or a published one")
    weights.add_argument("--lively", type=int, metavar="SEED", help="random weights of trained size")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model-version", default="0", help="version written into the metadata")
    parser.add_argument("--name", default="", help="name written into the metadata, such as mimo-unet-s@1")
    parser.add_argument("--licence", default="")
    parser.add_argument("--description", default="")
    parser.add_argument(
        "--dynamo", action="store_true", help="use PyTorch's newer exporter (needs onnxscript)"
    )
    less = parser.add_argument_group("less precision")
    less.add_argument("--precision", choices=PRECISIONS, default="fp32")
    less.add_argument(
        "--calib",
        type=Path,
        metavar="DIR",
        help="images or pairs, never those of a test: ranges for int8 and the cost are taken from tiles of "
        "them",
    )
    less.add_argument("--method", choices=METHODS, default=METHODS[0], help="how a range is chosen")
    less.add_argument(
        "--budget",
        type=float,
        default=BUDGET,
        metavar="DB",
        help=f"what it may cost; layers that cost most stay in float until it is kept (default {BUDGET:g})",
    )
    less.add_argument("--tiles", type=int, default=COUNT, help=f"how many tiles of --calib (default {COUNT})")
    less.add_argument(
        "--table", type=Path, metavar="FILE", help="write what each layer costs, .csv or Markdown"
    )
    less.add_argument("--force", action="store_true", help="write it where the budget cannot be kept as well")
    a = parser.parse_args()
    if a.tiles < 1:
        parser.error("--tiles must be at least 1")
    if a.table is not None and a.precision != "int8":
        parser.error("--table belongs to --precision int8")
    try:
        if a.weights is not None:
            net = MIMOUNet.from_weights(load_weights(a.weights), a.resample)
            if a.preset not in (None, net.shape.preset):
                raise ExportError(f"{a.weights} holds a {net.shape.preset}, not a {a.preset}")
        elif a.preset is None:
            raise ExportError("--lively needs --preset")
        else:
            preset = PRESETS[a.preset]
            net = lively_init(
                MIMOUNet(preset.width, preset.num_res, resample=a.resample, scales=preset.scales), a.lively
            )
        labels = Labels(a.model_version, a.name, a.licence, a.description)
        model, worst = checked(net, labels, dynamo=a.dynamo)
        if a.precision != "fp32":
            made, worst = reduced(
                model, Reduction(a.precision, a.calib, a.method, a.budget, a.tiles, a.table, a.force)
            )
            model = made.model
            if made.rows:
                print(as_text(made.rows), file=sys.stderr)
            if made.drop is not None:
                print(f"{a.precision} costs {made.drop:.4f} dB on tiles of {a.calib}", file=sys.stderr)
        write(a.output, model)
    except (ExportError, Error, RuntimeError, OSError, ValueError) as e:
        raise SystemExit(f"export failed: {e}") from None
    size = a.output.stat().st_size
    print(f"{a.output}: {size} bytes, within {worst:.1e} of ONNX Runtime", file=sys.stderr)


if __name__ == "__main__":
    main()
