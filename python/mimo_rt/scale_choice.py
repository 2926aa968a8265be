"""Which size to run a photo at, by rule: few tiles, their detail, and what the network changes there.

Two questions, both asked of the tiles with most texture:

- Is fine detail missing? Shake takes it away along its path, whatever its direction is across it. So detail
  is measured as the smaller eigenvalue of the gradients' structure tensor, at full size, half, quarter...,
  less what noise gives; `lack` at a scale is that of the next finer size divided by that of the next coarser
  one. Sharp photos have 0.3 to 1.
- Does the network find more to do on the smaller photo? `change` is the mean of what it changes.

A quarter is chosen where detail lacks at a quarter (below `LACK[0.25]`) and the network changes
`MORE[0.25]` times as much there as at full size, and at least a level of 8 bits: a photo with next to no
detail lacks it everywhere, and has nothing to win. A half where the same is true of half size.
Else the photo is run as it is: full size can do least harm. The numbers were found by `train.scale_rule` on
the 21 large photographs of the training set, sharp and blurred by shakes of 4 to 80 pixels, as
those that gain most and lose no more than 0.1 dB against full size on any of these; on others they may
lose more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mimo_rt.pixels import Pixels
from mimo_rt.scale import Float, shrink, top

LEAST_PIXELS = 2_000_000
"""Smaller photos are run as they are, without a look."""
TILE = 512
MOST_TILES = 4
PIXELS_A_TILE = 3_000_000
LACK = {0.5: 0.12, 0.25: 0.14}
MORE = {0.5: 1.5, 0.25: 1.75}
LEAST_CHANGE = 1.0 / 255
"""Of 0.5 to 2 levels in steps of a half the one at which the training photographs gain most."""
_PART = 128
"""Side in pixels of the parts of a tile in which detail is measured."""
_LEVELS = 5


@dataclass(frozen=True)
class ScaleChoice:
    """scale: 1, 0.5 or 0.25. changes: mean change by the network at each scale, in parts of 1. lacks: see the
    module. Both are empty where the photo is too small to be looked at."""

    scale: float
    megapixels: float
    changes: dict[float, float]
    lacks: dict[float, float]

    @property
    def sentence(self) -> str:
        """For people, without a final stop."""
        if not self.changes:
            why = "too few" if self.megapixels * 1e6 < LEAST_PIXELS else "too narrow"
            return f"scale 1 ({self.megapixels:.1f} megapixels, {why} to shrink)"
        levels = ", ".join(f"{255 * change:.2f} at {scale:g}" for scale, change in self.changes.items())
        lacks = ", ".join(
            f"{lack:.2f} at {scale:g} (limit {LACK[scale]:g})" for scale, lack in self.lacks.items()
        )
        return (
            f"scale {self.scale:g} ({self.megapixels:.1f} megapixels; levels that the network changes: "
            f"{levels}; detail: {lacks})"
        )


def choose(image: Pixels, network: Callable[[Float], Float]) -> ScaleChoice:
    """The choice for (H, W, C), C = 1 or 3 (alpha left out). network: takes and returns (h, w, C) float32 in
    [0, 1]."""
    height, width = image.shape[:2]
    pixels = height * width
    if pixels < LEAST_PIXELS or min(height, width) < TILE:
        return ScaleChoice(1.0, pixels / 1e6, {}, {})
    tiles = _tiles(image, max(1, min(MOST_TILES, pixels // PIXELS_A_TILE)))
    lacks = _lacks(tiles)
    changes = {}
    for scale in (1.0, 0.5, 0.25):
        total = 0.0
        for tile in tiles:
            small = shrink(tile, round(1 / scale))
            total += float(np.abs(network(small) - small).mean(dtype=np.float64))
        changes[scale] = total / len(tiles)
    return ScaleChoice(decide(changes, lacks), pixels / 1e6, changes, lacks)


def decide(
    changes: Mapping[float, float],
    lacks: Mapping[float, float],
    lack: Mapping[float, float] = LACK,
    more: Mapping[float, float] = MORE,
) -> float:
    """The rule itself: the scale for what was measured, `ScaleChoice.changes` and `.lacks`."""
    for scale in (0.25, 0.5):
        if lacks[scale] < lack[scale] and changes[scale] > max(more[scale] * changes[1.0], LEAST_CHANGE):
            return scale
    return 1.0


def _tiles(image: Pixels, count: int) -> list[Pixels]:
    """The `count` tiles of most texture of a grid in the photo's middle, in order of texture."""
    places = []
    rows, columns = image.shape[0] // TILE, image.shape[1] // TILE
    first_row, first_column = (image.shape[0] - rows * TILE) // 2, (image.shape[1] - columns * TILE) // 2
    for row in range(rows):
        for column in range(columns):
            y, x = first_row + row * TILE, first_column + column * TILE
            sparse = shrink(image[y : y + TILE, x : x + TILE], 8)
            texture = np.abs(np.diff(sparse, axis=0)).mean(dtype=np.float64)
            texture += np.abs(np.diff(sparse, axis=1)).mean(dtype=np.float64)
            places.append((-float(texture), y, x))
    return [image[y : y + TILE, x : x + TILE] for _, y, x in sorted(places)[:count]]


def _lacks(tiles: list[Pixels]) -> dict[float, float]:
    levels: list[list[Float]] = [[] for _ in range(_LEVELS)]
    for tile in tiles:
        grey = tile.astype(np.float32).mean(axis=2, keepdims=True) / np.float32(top(tile.dtype))
        for level in range(_LEVELS):
            levels[level].append(_detail(shrink(grey, 2**level)[:, :, 0], _PART >> level))
    detail = [np.concatenate(parts) for parts in levels]
    noise = np.float32(np.percentile(detail[0], 5))
    clean: list[Float] = [np.maximum(d - noise / np.float32(4**level), 0) for level, d in enumerate(detail)]
    found = {}
    for scale, level in ((0.5, 1), (0.25, 2)):
        best = np.argsort(clean[level + 2], kind="stable")[-max(4, len(clean[0]) // 4) :]
        if np.median(clean[level + 2][best]) < noise / np.float32(4 ** (level + 2)):
            found[scale] = 1.0  # nothing but noise: no judgement
            continue
        found[scale] = float(np.median(clean[level][best] / (clean[level + 2][best] + 1e-9)))
    return found


def _detail(grey: Float, part: int) -> Float:
    """The smaller eigenvalue of the mean structure tensor of each part x part square."""
    falling, rising = np.zeros_like(grey), np.zeros_like(grey)
    falling[:-1, :-1] = grey[1:, 1:] - grey[:-1, :-1]
    rising[:-1, :-1] = grey[1:, :-1] - grey[:-1, 1:]

    def mean(x: Float) -> Float:
        rows, columns = x.shape[0] // part, x.shape[1] // part
        result: Float = x.reshape(rows, part, columns, part).mean(axis=(1, 3)).ravel()
        return result

    a, b, c = mean(falling * falling), mean(rising * rising), mean(falling * rising)
    smaller: Float = (a + b) / 2 - np.sqrt(np.square((a - b) / 2) + np.square(c))
    return smaller
