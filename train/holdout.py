"""The images a network is measured on while it trains and after: fixed by a seed, never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mimo_rt.network import STRIDES
from train.blur import HEAVY, LONG, MILD, Shake, synthesize
from train.data import detail, list_images, load_pairs, smaller, to_tensor
from train.frames import FramePair, Frames, Pixels, read_image

GOPRO = "gopro_subset"
REDS = ("reds_020", 16), ("reds_x4_027", 80)
"""Folders of REDS pairs and the first frame, in order of name, that belongs to the hold-out."""

LARGEST_PSNR = 100.0
"""What the PSNR of two equal images counts as in a mean, in dB."""

Images = list[tuple[Tensor, Tensor]]
"""(input, target) as float32 (3, H, W) in [0, 1]."""


def synthetic(photos: Sequence[Pixels], shake: Shake, count: int, size: int, seed: int) -> Images:
    """``count`` synthesized pairs of ``size`` x ``size``, photographs in turn, crops with little detail
    drawn again.

    Half of them come from photographs at half size, where detail is finer. 4 in 10 have a moving layer, as
    in training.
    """
    rng = np.random.default_rng(seed)
    outer = size + 2 * shake.margin
    pool = [p for p in photos if min(p.shape[:2]) >= outer]
    if not pool:
        raise ValueError(f"no photograph is at least {outer} pixels high and wide")

    def crop(photo: Pixels) -> Tensor:
        best: Pixels | None = None
        for _ in range(8):
            y = int(rng.integers(photo.shape[0] - outer + 1))
            x = int(rng.integers(photo.shape[1] - outer + 1))
            cut = photo[y : y + outer, x : x + outer]
            if best is None or detail(cut) > detail(best):
                best = cut
            if detail(best) >= 2.5:
                break
        assert best is not None
        return to_tensor(best)

    pairs = []
    for i in range(count):
        photo = pool[i % len(pool)]
        if (i // len(pool)) % 2 and min(photo.shape[:2]) >= 2 * outer:
            photo = smaller(photo, 2.0)
        main = crop(photo)
        other = crop(pool[int(rng.integers(len(pool)))]) if rng.random() < shake.layer else None
        pairs.append(synthesize(main, rng, shake, other))
    return pairs


def mild_and_heavy(
    photos: Sequence[Pixels], mild: int, heavy: int, size: int, seed: int = 2024
) -> dict[str, Images]:
    """The synthetic hold-out: ``mild`` pairs of shake that reaches 1 to 4 pixels and ``heavy`` pairs of 4
    to 8 pixels.

    3 to 4 of them is the training's own mix, whose reaches are uniform from 1 to 8 pixels.
    """
    return {
        "mild": synthetic(photos, MILD, mild, size, seed),
        "heavy": synthetic(photos, HEAVY, heavy, size, seed + 1),
    }


def long_blur(photos: Sequence[Pixels], count: int, size: int, seed: int = 2026) -> Images:
    """``count`` pairs of shake that reaches 8 to 16 pixels; none where the photographs are too small."""
    if max((min(photo.shape[:2]) for photo in photos), default=0) < size + 2 * LONG.margin:
        return []
    return synthetic(photos, LONG, count, size, seed)


def photographs(folder: Path, split: str = "holdout") -> list[Pixels]:
    """The collected photographs of one split (see `train.photos`)."""
    return [read_image(path) for path in list_images(folder / split)]


def sharp(photos: Sequence[Pixels], size: int | None) -> Images:
    """Photographs as they are, input = target; the middle ``size`` x ``size`` of each where given."""
    images = []
    for photo in photos:
        tensor = centre(to_tensor(photo), size)
        images.append((tensor, tensor))
    return images


def centre(x: Tensor, size: int | None) -> Tensor:
    """The middle of (C, H, W), at most ``size`` high and wide, cut to what every network takes."""
    height, width = x.shape[1:]
    stride = max(STRIDES.values())
    h = min(size or height, height) // stride * stride
    w = min(size or width, width) // stride * stride
    y, x0 = (height - h) // 2, (width - w) // 2
    return x[:, y : y + h, x0 : x0 + w]


def real(pairs: Sequence[FramePair], size: int | None) -> Images:
    """Real pairs as tensors, the middle of each where ``size`` is given."""
    return [
        (centre(to_tensor(b), size), centre(to_tensor(s), size)) for b, s in (pair.load() for pair in pairs)
    ]


def real_sets(data: Path, size: int | None, reds_each: int | None = None) -> dict[str, Images]:
    """The GoPro subset and the REDS hold-out; a set whose folder is absent is left out."""
    sets: dict[str, Images] = {}
    if (data / GOPRO).is_dir():
        sets["gopro"] = real(load_pairs(data / GOPRO, Frames()), size)
    reds: Images = []
    for folder, first in REDS:
        if (data / folder).is_dir():
            reds += real(load_pairs(data / folder, Frames(), first)[:reds_each], size)
    if reds:
        sets["reds"] = reds
    return sets


def psnr(x: Tensor, wanted: Tensor) -> float:
    """PSNR in dB of ``x`` clipped to [0, 1], without rounding; infinite where they are equal."""
    error = float(torch.mean((x.clamp(0.0, 1.0) - wanted) ** 2, dtype=torch.float64))
    return float("inf") if error == 0.0 else float(-10.0 * np.log10(error))
