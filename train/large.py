"""Long blur in large photographs: ``python -m train.large --photos PHOTOS [--model M]``.

Cuts the middle of every photograph of `train.photos.LARGE` (``--size`` pixels a side, 0 for all of it),
shakes it by reaches of 0 (sharp), 4, 8, 20, 40 and 80 pixels with a fixed seed, and prints what each scale
and auto gain (PSNR itself where the photograph is sharp). What auto goes by was found on other photographs:
`train.scale_rule`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import mimo_rt
from mimo_rt.scale import SCALES
from mimo_rt.scale_choice import ScaleChoice
from train.blur import path_reach, smooth_path, to_8bit
from train.frames import Pixels
from train.photos import LARGE, Photo, read_photo, unpack
from train.pictures import Pictures

REACHES = (0, 4, 8, 20, 40, 80)
LONG = 20
"""What long blur begins at."""
MARGIN = 176
"""Pixels around the crop that a blur of the largest reach may look at."""


def kernel(rng: np.random.Generator, reach: float) -> NDArray[np.float64]:
    """The trace of a shake that reaches so many pixels from its middle: odd sides, sums to one."""
    shifts = smooth_path(rng, max(65, int(16 * reach) | 1), 2)
    shifts *= reach / path_reach(shifts)
    half = int(np.ceil(np.abs(shifts).max())) + 1
    trace = np.zeros((2 * half + 1, 2 * half + 1))
    base = np.floor(shifts).astype(int)
    part = shifts - base
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - part[:, 1]) * np.abs(1 - dx - part[:, 0])
            np.add.at(trace, (base[:, 1] + dy + half, base[:, 0] + dx + half), weight)
    result: NDArray[np.float64] = trace / trace.sum()
    return result


def shake(photo: Pixels, rng: np.random.Generator, reach: float) -> Pixels:
    """A photograph (H, W, 3) of 8 bits as a shake leaves it, in sRGB or linear light, with noise. Near its
    borders it holds what lies at the opposite ones."""
    gamma = 2.2 if rng.random() < 0.5 else 1.0
    light = (torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255.0) ** gamma
    height, width = light.shape[1:]
    trace = kernel(rng, reach)
    half = trace.shape[0] // 2
    whole = torch.zeros(height, width)
    whole[: trace.shape[0], : trace.shape[1]] = torch.from_numpy(trace).float()
    spectrum = torch.fft.rfft2(torch.roll(whole, (-half, -half), (0, 1)))
    seen = torch.fft.irfft2(torch.fft.rfft2(light) * spectrum, s=(height, width)).clamp_min(0.0)
    noise = rng.normal(0.0, rng.uniform(0.0, 0.01), size=tuple(seen.shape)).astype(np.float32)
    blurred = to_8bit(seen ** (1.0 / gamma) + torch.from_numpy(noise))
    pixels: Pixels = (blurred * 255.0).round().byte().permute(1, 2, 0).contiguous().numpy()
    return pixels


def psnr(x: Pixels, wanted: Pixels) -> float:
    """Of 8-bit pixels, in dB, at most 100."""
    error = float(np.mean((x.astype(np.float32) - wanted) ** 2, dtype=np.float64))
    return 100.0 if error == 0.0 else min(100.0, float(10.0 * np.log10(255.0**2 / error)))


@dataclass(frozen=True)
class Case:
    """One photograph after one shake. before: its PSNR in dB (100 where the reach is 0: it is sharp). found:
    PSNR of what the network gives at each scale. choice: what auto saw and took."""

    name: str
    reach: int
    before: float
    found: dict[float, float]
    choice: ScaleChoice

    @property
    def auto(self) -> float:
        """PSNR in dB at the scale that auto takes."""
        return self.found[self.choice.scale]


def cases(
    photos: Sequence[Photo],
    cache: Path,
    deblurrer: mimo_rt.Deblurrer,
    size: int = 0,
    pictures: Pictures | None = None,
) -> Iterator[Case]:
    """Every photograph, its middle of size x size pixels (0: all of it), after every reach. pictures: filled
    with long blur."""
    for number, photo in enumerate(photos):
        pixels = np.asarray(read_photo(unpack(photo.package, cache) / photo.path, 1))
        if size:
            cut = [
                slice(max(0, (n - size) // 2 - MARGIN), (n + size) // 2 + MARGIN) for n in pixels.shape[:2]
            ]
            pixels = pixels[cut[0], cut[1]]
        inner = slice(MARGIN, -MARGIN)
        sharp = np.ascontiguousarray(pixels[inner, inner])
        for reach in REACHES:
            rng = np.random.default_rng(100 * number + reach)
            given = sharp if reach == 0 else np.ascontiguousarray(shake(pixels, rng, reach)[inner, inner])
            made = {scale: deblurrer.run(given, scale=scale) for scale in SCALES}
            found = {scale: psnr(pixels, sharp) for scale, pixels in made.items()}
            case = Case(photo.name, reach, psnr(given, sharp), found, deblurrer.choose_scale(given))
            if pictures is not None and reach >= LONG:
                scale = case.choice.scale
                text = f"{photo.name}, {reach} px, scale {scale:g}: {case.before:.2f} -> {case.auto:.2f} dB"
                pictures.add(case.auto - case.before, text, given, made[scale], sharp)
            yield case


def main() -> None:
    """Entry of ``python -m train.large``."""
    parser = argparse.ArgumentParser(prog="python -m train.large", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder that train.photos wrote")
    parser.add_argument("--model", default="mimo-unet-s")
    parser.add_argument("--size", type=int, default=1536, help="side of the crop; 0: the whole photograph")
    parser.add_argument("--limit", type=int, default=len(LARGE), help="photographs to take")
    parser.add_argument(
        "--pictures", type=Path, metavar="FILE", help="write the best, median and worst of long blur here"
    )
    a = parser.parse_args()
    pictures = Pictures("before", "after", "sharp") if a.pictures else None
    blurred: list[Case] = []
    print("| photograph | reach | before, dB | at 1 | at 0.5 | at 0.25 | auto | auto's scale |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for case in cases(LARGE[: a.limit], a.photos / "cache", mimo_rt.Deblurrer(a.model), a.size, pictures):
        values = [*(case.found[scale] for scale in SCALES), case.auto]
        cells = [f"{v - case.before:+.2f}" if case.reach else f"{v:.2f}" for v in values]
        row = [case.name, str(case.reach), f"{case.before:.2f}", *cells, f"{case.choice.scale:g}"]
        print(f"| {' | '.join(row)} |", flush=True)
        if case.reach:
            blurred.append(case)
    for title, least in (("all", 1), ("20, 40 and 80 pixels", LONG)):
        some = [c for c in blurred if c.reach >= least]
        gains = [c.auto - c.before for c in some]
        over = [c.auto - c.found[1.0] for c in some]
        print(
            f"auto, {title}: {np.mean(gains):+.2f} dB in the mean, {min(gains):+.2f} at worst; over scale 1: "
            f"{np.mean(over):+.2f} in the mean, {min(over):+.2f} at worst"
        )
    if pictures is not None:
        pictures.write(a.pictures)


if __name__ == "__main__":
    main()
