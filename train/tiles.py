"""Tiles of photographs or of pairs: what a network is calibrated on, and what precision costs it is measured
on.

The same folder, count and size give the same tiles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mimo_rt import pairs as pair_files
from mimo_rt.errors import ImageError, make
from mimo_rt.network import STRIDES
from train.blur import LEAST_MARGIN, Shake, synthesize
from train.data import list_images, most_detailed, to_tensor
from train.frames import Pixels, read_image

SMALLEST = 16
"""Pixels a side that a tile must have."""
COUNT = 16
SIDE = 256
"""How many tiles, and of how many pixels a side at most, unless told otherwise."""


@dataclass
class Tiles:
    """Float32 (3, H, W) in [0, 1], H and W divisible by 8."""

    inputs: list[Tensor] = field(default_factory=list)
    """As they are in the files: blurred halves, or photographs."""
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """(blurred, sharp)."""


def read_tiles(folder: Path, count: int = COUNT, size: int = SIDE, last: int | None = None) -> Tiles:
    """``count`` tiles of at most ``size`` x ``size``, from files evenly spread over the folder; smaller only
    where an image is.

    folder: pairs in any layout that `mimo_rt.pairs` knows, or images alone. Images alone are taken for sharp
    ones when pairs are asked for, and blurred as training blurs. last: how many pairs, in order, may be
    used. Raises ImageError where there are no images, or one is damaged or too small.
    """
    try:
        files = [(pair.blur, pair.sharp) for pair in pair_files.find(folder).pairs[:last]]
    except ImageError as error:
        if error.code != "pairs.none":
            raise
        try:
            files = [(path, path) for path in list_images(folder)]
        except OSError:
            raise make(ImageError, "tiles.none", f"there are neither pairs nor images in {folder}") from error
    tiles = Tiles()
    chosen = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    for i in range(count):
        blurred, sharp = files[chosen[i % len(chosen)]]
        rng = np.random.default_rng([0, i])
        if blurred == sharp:
            _photograph(tiles, blurred, size, rng)
        else:
            _pair(tiles, blurred, sharp, size, rng)
    return tiles


def _pair(tiles: Tiles, blurred: Path, sharp: Path, size: int, rng: np.random.Generator) -> None:
    given, wanted = _read(blurred), _read(sharp)
    if given.shape != wanted.shape:
        raise make(ImageError, "tiles.size", f"{blurred} and {sharp} differ in size")
    y, x, height, width = _place(wanted, size, 0, blurred, rng)
    pair = tuple(to_tensor(pixels[y : y + height, x : x + width]) for pixels in (given, wanted))
    tiles.inputs.append(pair[0])
    tiles.pairs.append((pair[0], pair[1]))


def _photograph(tiles: Tiles, path: Path, size: int, rng: np.random.Generator) -> None:
    pixels = _read(path)
    y, x, height, width = _place(pixels, size, LEAST_MARGIN, path, rng)
    wide = to_tensor(pixels[y : y + height + 2 * LEAST_MARGIN, x : x + width + 2 * LEAST_MARGIN])
    tiles.inputs.append(wide[:, LEAST_MARGIN:-LEAST_MARGIN, LEAST_MARGIN:-LEAST_MARGIN].contiguous())
    tiles.pairs.append(synthesize(wide, rng, Shake()))


def _place(
    pixels: Pixels, size: int, margin: int, path: Path, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of the tile with most detail, of a few drawn at random. The first two do
    not count the margin, which lies around it."""
    room = [side - 2 * margin for side in pixels.shape[:2]]
    stride = max(STRIDES.values())
    height, width = (min(size, side) // stride * stride for side in room)
    if min(height, width) < SMALLEST:
        raise make(
            ImageError,
            "tiles.small",
            f"{path} is {pixels.shape[1]}x{pixels.shape[0]}; at least {SMALLEST + 2 * margin} pixels a side "
            "are needed",
        )
    inner = pixels[margin : margin + room[0], margin : margin + room[1]]
    return *most_detailed(inner, height, width, rng), height, width


def _read(path: Path) -> Pixels:
    try:
        return read_image(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise make(ImageError, "tiles.image", f"cannot read {path}: {error}") from error


def noise(height: int, width: int, seed: int) -> Tensor:
    """An image of uniform noise, float32 (3, height, width): what an export is checked on without images."""
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
