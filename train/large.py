"""Long blur in large photographs: ``python -m train.large --photos PHOTOS [--model M]``.

Cuts the middle of every photograph of `train.photos.LARGE` (``--size`` pixels a side, 0 for all of it),
shakes it by reaches of 0 (sharp), 4, 8, 20, 40 and 80 pixels with a fixed seed, and prints PSNR at scale 1
and the gain over it of 0.5, 0.25 and auto.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import mimo_rt
from train.blur import path_reach, smooth_path, to_8bit
from train.frames import Pixels
from train.photos import LARGE, read_photo, unpack

REACHES = (0, 4, 8, 20, 40, 80)
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


def main() -> None:
    """Entry of ``python -m train.large``."""
    parser = argparse.ArgumentParser(prog="python -m train.large", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder that train.photos wrote")
    parser.add_argument("--model", default="mimo-unet-s")
    parser.add_argument("--size", type=int, default=1536, help="side of the crop; 0: the whole photograph")
    parser.add_argument("--limit", type=int, default=len(LARGE), help="photographs to take")
    a = parser.parse_args()
    deblurrer = mimo_rt.Deblurrer(a.model)
    over: list[float] = []
    gains: list[float] = []
    print("| photograph | reach | before, dB | at 1 | at 0.5 | at 0.25 | auto | auto's scale |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for number, photo in enumerate(LARGE[: a.limit]):
        image = read_photo(unpack(photo.package, a.photos / "cache") / photo.path, 1)
        pixels = np.asarray(image)
        if a.size:
            cut = [
                slice(max(0, (n - a.size) // 2 - MARGIN), (n + a.size) // 2 + MARGIN)
                for n in pixels.shape[:2]
            ]
            pixels = pixels[cut[0], cut[1]]
        inner = slice(MARGIN, -MARGIN)
        sharp = np.ascontiguousarray(pixels[inner, inner])
        for reach in REACHES:
            rng = np.random.default_rng(100 * number + reach)
            given = sharp if reach == 0 else np.ascontiguousarray(shake(pixels, rng, reach)[inner, inner])
            found = [psnr(deblurrer.run(given, scale=s), sharp) for s in (1, 0.5, 0.25)]
            scale = deblurrer.choose_scale(given).scale
            auto = found[(1.0, 0.5, 0.25).index(scale)]
            before = psnr(given, sharp)
            cells = [f"{v - before:+.2f}" if reach else f"{v:.2f}" for v in (*found, auto)]
            print(
                f"| {Path(photo.path).stem} | {reach} | {before:.2f} | {' | '.join(cells)} | {scale:g} |",
                flush=True,
            )
            if reach:
                over.append(auto - found[0])
                gains.append(auto - before)
    print(f"auto: {np.mean(gains):+.2f} dB in the mean, {min(gains):+.2f} at worst; over scale 1: ", end="")
    print(f"{np.mean(over):+.2f} in the mean, {min(over):+.2f} at worst")


if __name__ == "__main__":
    main()
