"""The best that sharpening can do: 20 unsharp masks on blurred and sharp pairs, the best of them by the very
same pairs, beside a model.

``python benchmarks/unsharp.py --data DATA/gopro_subset [--model M]``

Every radius of 0.5, 1, 2 and 4 pixels with every strength of 20, 40, 80, 140 and 220 %, by Pillow, on 8-bit
pixels. The best is chosen after the fact, which no user could do: a model has to beat it by far.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mimo_rt  # noqa: E402
from benchmarks import pages  # noqa: E402
from mimo_rt.evaluation.metrics import psnr  # noqa: E402
from mimo_rt.pairs import find  # noqa: E402

RADII = (0.5, 1.0, 2.0, 4.0)
PERCENTS = (20, 40, 80, 140, 220)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of blurred and sharp images")
    parser.add_argument("--model", default="mimo-unet-s")
    a = parser.parse_args(arguments)
    deblurrer = mimo_rt.Deblurrer(a.model)
    masks = {f"radius {r:g}, {p} %": ImageFilter.UnsharpMask(r, p, 0) for r in RADII for p in PERCENTS}
    gains: dict[str, list[float]] = {name: [] for name in (a.model, *masks)}
    for pair in find(a.data).pairs:
        with Image.open(pair.blur) as blurred, Image.open(pair.sharp) as target:
            given, sharp = blurred.convert("RGB"), np.asarray(target.convert("RGB"))
        before = psnr(np.asarray(given), sharp, 255)
        gains[a.model].append(psnr(deblurrer.run(np.asarray(given)), sharp, 255) - before)
        for name, mask in masks.items():
            gains[name].append(psnr(np.asarray(given.filter(mask)), sharp, 255) - before)
    order = sorted(masks, key=lambda name: -float(np.mean(gains[name])))
    rows = [
        [name, f"{np.mean(gains[name]):+.2f}", f"{min(gains[name]):+.2f}", f"{max(gains[name]):+.2f}"]
        for name in (a.model, *order[:5])
    ]
    print(f"{len(gains[a.model])} pairs, gain in dB on 8-bit pixels; the best five masks of {len(masks)}:\n")
    print(pages.table(["", "mean", "worst", "best"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
