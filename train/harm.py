"""What a model does to photos that need nothing: ``python -m train.harm --photos PHOTOS [--model M]``.

40 sharp crops of photographs never trained on (half of them at half size): PSNR(in, out). The same out of
focus, as backgrounds of portraits are (a disc of 6 to 20 pixels radius): mean change. Flat colours and fields
of noise: the largest change of a flat, and of the mean over 8 x 8 pixels of a noise field. In 8-bit levels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import mimo_rt
from train.data import most_detailed, smaller, to_tensor
from train.frames import Pixels
from train.holdout import photographs
from train.large import psnr
from train.pictures import Pictures, difference
from train.untouched import through_lens

SIDE = 256


def crops(photos: list[Pixels], count: int, rng: np.random.Generator) -> list[Pixels]:
    """`count` crops, photographs in turn, each the one of most detail of eight."""
    found = []
    for i in range(count):
        photo = photos[i % len(photos)]
        if (i // len(photos)) % 2 and min(photo.shape[:2]) >= 2 * SIDE:
            photo = smaller(photo, 2.0)
        y, x = most_detailed(photo, SIDE, SIDE, rng)
        found.append(np.ascontiguousarray(photo[y : y + SIDE, x : x + SIDE]))
    return found


def out_of_focus(crop: Pixels, radius: int) -> Pixels:
    """The mean over a disc, in linear light."""
    y, x = torch.meshgrid(*[torch.arange(-radius, radius + 1)] * 2, indexing="ij")
    seen = through_lens(to_tensor(crop), ((x**2 + y**2) <= radius**2).float())
    pixels: Pixels = (seen * 255.0).round().byte().permute(1, 2, 0).contiguous().numpy()
    return pixels


def main() -> None:
    """Entry of ``python -m train.harm``."""
    parser = argparse.ArgumentParser(prog="python -m train.harm", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder that train.photos wrote")
    parser.add_argument("--model", default="mimo-unet-s")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="write the best, median and worst of photos here"
    )
    a = parser.parse_args()
    deblurrer = mimo_rt.Deblurrer(a.model)
    rng = np.random.default_rng(7)

    def change(image: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return deblurrer.run(image).astype(np.float32) - image

    untouched = Pictures("sharp", "after", "10 x change")
    blurred = Pictures("out of focus", "after", "10 x change")
    sharp = crops([p for p in photographs(a.photos) if min(p.shape[:2]) >= SIDE], 40, rng)
    kept = []
    for crop in sharp:
        after = deblurrer.run(crop)
        kept.append(psnr(after, crop))
        untouched.add(kept[-1], f"{kept[-1]:.1f} dB", crop, after, difference(crop, after))
    print(f"sharp, {len(kept)} crops: {np.mean(kept):.2f} dB in the mean, {min(kept):.2f} at worst")
    soft = []
    for i, crop in enumerate(sharp[:20]):
        given = out_of_focus(crop, 6 + i % 15)
        after = deblurrer.run(given)
        soft.append(float(np.abs(after.astype(np.float32) - given).mean()))
        blurred.add(-soft[-1], f"{soft[-1]:.2f} levels in the mean", given, after, difference(given, after))
    print(f"out of focus, {len(soft)}: {np.mean(soft):.2f} levels in the mean, {max(soft):.2f} at worst")
    if a.pictures:
        untouched.write(a.pictures / "sharp-crops.jpg")
        blurred.write(a.pictures / "out-of-focus.jpg")
    flats = [np.full((SIDE, SIDE, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(10)]
    print(
        f"flat colours, {len(flats)}: {max(float(np.abs(change(f)).max()) for f in flats):.0f} levels at most"
    )
    pattern = []
    for sigma in (1.0, 3.0, 8.0):
        field = np.clip(rng.normal(128.0, sigma, (SIDE, SIDE, 3)) + 0.5, 0, 255).astype(np.uint8)
        blocks = change(field).reshape(SIDE // 8, 8, SIDE // 8, 8, 3).mean(axis=(1, 3))
        pattern.append(float(np.abs(blocks).max()))
    print(f"noise of 1, 3 and 8 levels: {', '.join(f'{p:.2f}' for p in pattern)} levels of pattern at most")


if __name__ == "__main__":
    main()
