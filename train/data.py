"""Where training samples come from: photographs to blur, folders of real pairs, and pairs whose target is
the input.

Images stay in memory as uint8 (H, W, 3). A batch is drawn with a `numpy` generator alone, so a seed gives
the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from train.blur import MARGIN, Shake, synthesize

Pixels: TypeAlias = NDArray[np.uint8]
Pair: TypeAlias = tuple[Pixels, Pixels]

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"}


def read_image(path: Path) -> Pixels:
    """An image file as RGB, uint8 (H, W, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder by name; raises FileNotFoundError where there is none."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES) if folder.is_dir() else []
    if not files:
        raise FileNotFoundError(f"no images in {folder}")
    return files


def load_pairs(folder: Path, first: int = 0, last: int | None = None) -> list[Pair]:
    """A slice, by order of name, of the (blurred, sharp) pairs in ``folder/blur`` and ``folder/sharp``."""
    pairs = []
    for blurred in list_images(folder / "blur")[first:last]:
        sharp = folder / "sharp" / blurred.name
        if not sharp.exists():
            raise FileNotFoundError(f"{blurred} has no sharp picture {sharp}")
        pair = read_image(blurred), read_image(sharp)
        if pair[0].shape != pair[1].shape:
            raise ValueError(f"{blurred} and {sharp} differ in size")
        pairs.append(pair)
    return pairs


def smaller(image: Pixels, factor: float) -> Pixels:
    """``image`` shrunk by ``factor`` with an antialiasing filter."""
    height, width = image.shape[:2]
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def to_tensor(image: Pixels) -> Tensor:
    """uint8 (H, W, 3) to float32 (3, H, W) in [0, 1]."""
    return torch.tensor(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255.0


def turn(image: NDArray[np.generic] | Pixels, kind: int) -> Pixels:
    """One of the 8 turns and flips of (H, W, C), by ``kind`` 0..7."""
    turned = np.rot90(image, kind % 4)
    return np.asarray(turned[:, ::-1] if kind >= 4 else turned)


def detail(image: Pixels) -> float:
    """Mean absolute difference of neighbours in 8-bit steps: low on sky and out-of-focus ground."""
    grey = image[..., 1].astype(np.int16)
    return float((np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2.0)


@dataclass
class Mix:
    """What a batch is made of: shares of real pairs and of identity pairs, the rest is synthesized."""

    crop: int = 96
    batch: int = 14
    real: float = 0.25
    identity: float = 0.1
    flat: float = 2.5  # crops with less `detail` than this are drawn again, as long as a coin says so
    keep_flat: float = 0.15


class Source:
    """Draws training batches from photographs and real pairs held in memory.

    photographs: uint8 images of any size (too small ones are refused). pairs: real (blurred, sharp) images,
    by folder; folders are drawn from evenly.
    """

    def __init__(
        self,
        photographs: Sequence[Pixels],
        pairs: Sequence[Sequence[Pair]],
        mix: Mix,
        shake: Shake,
        seed: int,
    ) -> None:
        least = mix.crop + 2 * MARGIN
        self.photographs = [p for p in photographs if min(p.shape[:2]) >= least]
        if not self.photographs:
            raise ValueError(f"no photograph is at least {least} pixels high and wide")
        self.pairs = [list(folder) for folder in pairs if folder]
        self.mix = mix
        self.shake = shake
        self.rng = np.random.default_rng(seed)
        areas = np.array([p.shape[0] * p.shape[1] for p in self.photographs], dtype=np.float64)
        self._odds = np.sqrt(areas) / np.sqrt(areas).sum()

    def crop_photo(self, size: int) -> Pixels:
        """A square crop of a random photograph, turned at random, seldom a flat one."""
        rng = self.rng
        while True:
            photo = self.photographs[int(rng.choice(len(self.photographs), p=self._odds))]
            y = int(rng.integers(photo.shape[0] - size + 1))
            x = int(rng.integers(photo.shape[1] - size + 1))
            crop = photo[y : y + size, x : x + size]
            if detail(crop) >= self.mix.flat or rng.random() < self.mix.keep_flat:
                return turn(crop, int(rng.integers(8)))

    def crop_pair(self, size: int) -> tuple[Tensor, Tensor]:
        """The same square crop of a random real pair, turned at random."""
        rng = self.rng
        folder = self.pairs[int(rng.integers(len(self.pairs)))]
        while True:
            blurred, sharp = folder[int(rng.integers(len(folder)))]
            y = int(rng.integers(sharp.shape[0] - size + 1))
            x = int(rng.integers(sharp.shape[1] - size + 1))
            cut = slice(y, y + size), slice(x, x + size)
            if detail(sharp[cut]) >= self.mix.flat or rng.random() < self.mix.keep_flat:
                kind = int(rng.integers(8))
                return to_tensor(turn(blurred[cut], kind)), to_tensor(turn(sharp[cut], kind))

    def sample(self) -> tuple[Tensor, Tensor]:
        """One (input, target), float32 (3, crop, crop)."""
        mix, rng = self.mix, self.rng
        draw = rng.random()
        if draw < mix.identity:
            sharp = to_tensor(self.crop_photo(mix.crop))
            return sharp, sharp
        if draw < mix.identity + mix.real and self.pairs:
            return self.crop_pair(mix.crop)
        outer = mix.crop + 2 * MARGIN
        other = to_tensor(self.crop_photo(outer)) if rng.random() < self.shake.layer else None
        photo = to_tensor(self.crop_photo(outer))
        order = rng.permutation(3)
        blurred, sharp = synthesize(photo, rng, self.shake, other)
        return blurred[order], sharp[order]

    def batch(self) -> tuple[Tensor, Tensor]:
        """One batch of (input, target), float32 (batch, 3, crop, crop)."""
        samples = [self.sample() for _ in range(self.mix.batch)]
        return torch.stack([s[0] for s in samples]), torch.stack([s[1] for s in samples])
