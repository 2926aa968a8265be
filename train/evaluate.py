"""Quality of a network, before and after: ``python -m train.evaluate --model X.onnx --photos PHOTOS --data
DATA``.

Sets: the 5-pair GoPro subset and the REDS hold-out (whole frames), the synthetic hold-out (`train.holdout`:
fixed seed, shake drawn as in training, from photographs never trained on) and those photographs as they
are. PSNR follows the reference protocol: clipped to [0, 1], no rounding, mean of the figures of single
images; the 8-bit figure stands beside it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train import holdout
from train.blur import to_8bit
from train.checkpoint import write_json
from train.pictures import Pictures, difference, to_pixels

Float: TypeAlias = NDArray[np.float32]
Runner: TypeAlias = Callable[[Float], Float]
"""Takes and returns float32 (3, H, W), height and width divisible by 4; the result is not clipped."""

MILD_PAIRS, HEAVY_PAIRS, SYNTHETIC_SIZE = 36, 48, 256
"""The synthetic hold-out: 3 to 4, as the training's uniform reaches of 1 to 8 pixels have it."""

HARM = 0.1
"""dB that an image may lose before it counts as harmed."""


@dataclass(frozen=True)
class Row:
    """Means over one set, in dB. ``after_8bit`` is taken on results rounded to 8 bits; ``harmed`` is the
    share of images that lose more than `HARM`."""

    name: str
    images: int
    before: float
    after: float
    after_8bit: float
    worst_gain: float
    harmed: float

    @property
    def gain(self) -> float:
        """Mean gain in dB."""
        return self.after - self.before


def onnx_runner(path: Path, threads: int = 0) -> Runner:
    """Runs an exported model with ONNX Runtime."""
    import onnxruntime as ort  # type: ignore[import-untyped,unused-ignore]

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(image: Float) -> Float:
        result: Float = session.run(None, {name: image[None]})[0][0]
        return result

    return run


def torch_runner(weights: Path, preset: str) -> Runner:
    """Runs a checkpoint with PyTorch."""
    from train.model import MIMOUNet
    from train.weights import load_weights

    net = MIMOUNet.from_preset(preset).eval()
    net.load_state_dict(load_weights(weights))

    @torch.no_grad()
    def run(image: Float) -> Float:
        result: Float = net(torch.from_numpy(image)[None])[2][0].numpy()
        return result

    return run


def engine_runner(model: str) -> Runner:
    """Runs a model, by name or path, with mimo_rt's own engine."""
    import mimo_rt

    engine = mimo_rt.build(model)

    def run(image: Float) -> Float:
        result: Float = engine.infer(np.ascontiguousarray(image[None]))[0]
        return result

    return run


def image_sets(photos: Path | None, data: Path | None) -> dict[str, holdout.Images]:
    """All sets whose images are there."""
    sets: dict[str, holdout.Images] = {}
    if data is not None:
        names = {"gopro": "GoPro, 5-pair subset", "reds": "REDS, held-out frames"}
        sets |= {names[key]: images for key, images in holdout.real_sets(data, None).items()}
    if photos is not None:
        images = holdout.photographs(photos)
        parts = holdout.mild_and_heavy(images, MILD_PAIRS, HEAVY_PAIRS, SYNTHETIC_SIZE)
        sets["synthetic, mild (1-4 px)"] = parts["mild"]
        sets["synthetic, heavy (4-8 px)"] = parts["heavy"]
        sets["synthetic, all"] = parts["mild"] + parts["heavy"]
        sets["sharp photographs"] = holdout.sharp(images, None)
    return sets


def measure(
    run: Runner, sets: dict[str, holdout.Images], pictures: dict[str, Pictures] | None = None
) -> list[Row]:
    """One row a set. An infinite PSNR (a target returned bit for bit) counts as 100 dB. pictures: by set,
    filled with the images."""
    rows = []
    cache: dict[int, Tensor] = {}
    for name, images in sets.items():
        figures = []
        for given, wanted in images:
            if id(given) not in cache:
                cache[id(given)] = torch.from_numpy(run(np.ascontiguousarray(given.numpy())))
            output = cache[id(given)]
            psnrs = [holdout.psnr(x, wanted) for x in (given, output, to_8bit(output))]
            figures.append([min(p, holdout.LARGEST_PSNR) for p in psnrs])
            if pictures is not None:
                _show(pictures, name, figures[-1], given, output, wanted)
        table = np.array(figures)
        before, after, after_8bit = (float(v) for v in table.mean(0))
        gains = table[:, 1] - table[:, 0]
        harmed = float((gains < -HARM).mean())
        rows.append(Row(name, len(images), before, after, after_8bit, float(gains.min()), harmed))
    return rows


def _show(pictures: dict[str, Pictures], name: str, psnrs: list[float], *images: Tensor) -> None:
    given, output, wanted = (to_pixels(image) for image in images)
    before, after, _ = psnrs
    if before >= holdout.LARGEST_PSNR:
        to = pictures.setdefault(name, Pictures("sharp", "after", "10 x change"))
        to.add(after, f"{after:.1f} dB", given, output, difference(given, output))
    else:
        to = pictures.setdefault(name, Pictures("before", "after", "sharp"))
        to.add(after - before, f"{before:.2f} -> {after:.2f} dB", given, output, wanted)


def format_table(rows: list[Row]) -> str:
    """A Markdown table of the rows."""
    lines = [
        "| images | count | before, dB | after, dB | gain, dB | worst image, dB | lose 0.1 dB | "
        "after in 8 bits, dB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        own = row.before >= holdout.LARGEST_PSNR
        before, *gains = (
            f"{row.before:.2f}",
            f"{row.gain:+.2f}",
            f"{row.worst_gain:+.2f}",
            f"{row.harmed:.0%}",
        )
        if own:
            before, *gains = ("-",) * 4
        cells = [row.name, str(row.images), before, f"{row.after:.2f}", *gains, f"{row.after_8bit:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def find_data() -> Path | None:
    """``$MIMO_RT_DATA``, or ``../shared/data`` beside the repository, where there is one."""
    places = [os.environ.get("MIMO_RT_DATA"), str(Path(__file__).resolve().parents[2] / "shared" / "data")]
    for place in places:
        if place and Path(place).is_dir():
            return Path(place)
    return None


def main() -> None:
    """Entry of ``python -m train.evaluate`` and of benchmarks/quality.py."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--model", default="mimo-unet-s", help="ONNX file, or with --runtime mimo_rt also a model's name"
    )
    what.add_argument("--weights", type=Path, help="checkpoint to run with PyTorch (needs --preset)")
    parser.add_argument("--preset", default="mimo-unet-s")
    parser.add_argument("--runtime", choices=["mimo_rt", "onnxruntime"], default="mimo_rt")
    parser.add_argument("--photos", type=Path, help="folder that train.photos wrote")
    parser.add_argument(
        "--data", type=Path, help="folder of real pairs (default: $MIMO_RT_DATA or ../shared/data)"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="write the best, median and worst of each set here"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    a = parser.parse_args()
    try:
        if a.weights is not None:
            run, runtime = torch_runner(a.weights, a.preset), "torch"
        elif a.runtime == "onnxruntime":
            run, runtime = onnx_runner(Path(a.model)), "onnxruntime"
        else:
            run, runtime = engine_runner(a.model), "mimo_rt"
        sets = image_sets(a.photos, a.data or find_data())
    except (OSError, ValueError, ImportError) as e:
        raise SystemExit(f"cannot measure: {e}") from None
    if not sets:
        raise SystemExit("nothing to measure on: give --photos (see train.photos) or --data")
    pictures: dict[str, Pictures] | None = {} if a.pictures else None
    rows = measure(run, sets, pictures)
    print(format_table(rows))
    for name, some in (pictures or {}).items():
        some.write(a.pictures / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.jpg")
    if a.json is not None:
        record = {
            "model": str(a.weights or a.model),
            "runtime": runtime,
            "sets": [asdict(row) | {"gain": row.gain} for row in rows],
        }
        write_json(record, a.json)
        print(f"written: {a.json}", file=sys.stderr)


if __name__ == "__main__":
    main()
