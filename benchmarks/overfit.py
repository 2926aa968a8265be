"""Whether the network, its loss and its gradients are right: ``python benchmarks/overfit.py --data REDS``.

The base architecture learns four real pairs by heart, small crops of them, by the paper's recipe at a higher
rate: what cannot do that has an error in it, what can gains many decibels. Prints the PSNR before and after
and draws the curve. Needs the ``[train]`` extra; some ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from mimo_rt import pairs
from train.curve import draw, read
from train.data import detail
from train.fit import Fit
from train.frames import Frames, read_image
from train.recipe import Recipe
from train.sources import gather
from train.validation import Validation

CROP = 64
LEAST_GAIN = 6.0
"""dB."""


def four_pairs(data: Path, out: Path) -> None:
    """Writes ``out/{blur,sharp}/N.png``: of four pairs, evenly spread, the crop that has most detail."""
    found = pairs.find(data).pairs
    for number in range(4):
        pair = found[number * len(found) // 4]
        blurred, sharp = read_image(pair.blur), read_image(pair.sharp)
        rows, columns = (range(0, side - CROP, CROP) for side in sharp.shape[:2])
        cuts = [(slice(y, y + CROP), slice(x, x + CROP)) for y in rows for x in columns]
        cut = max(cuts, key=lambda c: detail(sharp[c]))
        for half, pixels in (("blur", blurred[cut]), ("sharp", sharp[cut])):
            (out / half).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(pixels)).save(out / half / f"{number}.png")


def main() -> None:
    """Entry of ``python benchmarks/overfit.py``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a set of pairs; four of them are used")
    parser.add_argument("--out", type=Path, default=Path("runs/overfit"), help="folder for crops and the run")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--image", type=Path, help="where to draw the curve (default: in --out)")
    a = parser.parse_args()
    four_pairs(a.data, a.out / "pairs")
    length = [
        f"epochs={a.steps}",
        f"validate_every={max(1, a.steps // 20)}",
        f"halve_every={max(1, a.steps // 4)}",
    ]
    recipe = Recipe.read("gopro-1gpu", ["rate=0.0005", f"crop={CROP}", "validation=0", "warmup=10", *length])
    material = gather(recipe, None, a.out / "pairs", Frames())
    fit = Fit(recipe, a.out / "run", material)
    material.validation = material.folders[0]  # here alone: what it is measured on is what it learns by heart
    fit.validation = Validation(material)
    before = fit.validation.measure(fit.trainer.net)["blurred"]
    fit.run()
    after = fit.figures["psnr"]
    image = a.image or a.out / "curve.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    draw(
        read(a.out / "run" / "curve.csv"), ["psnr", "blurred"], "PSNR of four pairs learned by heart, dB"
    ).save(image)
    print(f"{fit.step} steps: {before:.2f} dB -> {after:.2f} dB, {after - before:+.2f} dB ({image})")
    if after - before < LEAST_GAIN:
        raise SystemExit(f"less than the {LEAST_GAIN:g} dB that a sound network gains here")


if __name__ == "__main__":
    main()
