"""The part of an image that the network changed most: blurred, deblurred and sharp beside each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimo_rt.evaluation import images, metrics
from mimo_rt.evaluation.backends import Backend
from mimo_rt.evaluation.run import encode_png, timed
from mimo_rt.evaluation.table import Row
from mimo_rt.padding import Float
from mimo_rt.pairs import Pair

HEIGHT, WIDTH = 150, 200
"""Pixels of a crop; less where the image is smaller."""


@dataclass(frozen=True)
class Crop:
    """Three pictures of one place, as PNG files."""

    label: str
    row: Row
    left: int
    top: int
    width: int
    height: int
    pictures: tuple[bytes, bytes, bytes]
    """Blurred, deblurred, sharp."""


def make_crop(label: str, row: Row, pair: Pair, backend: Backend) -> Crop:
    """Runs the network on an image again and cuts out the place of the largest change."""
    loaded = images.load(pair)
    result, _ = timed(backend, loaded.blurred)
    top, left = largest_change(loaded.blurred, result, HEIGHT, WIDTH)
    place = slice(top, top + HEIGHT), slice(left, left + WIDTH)
    blurred, ours, sharp = (
        encode_png(metrics.to_8bit(image[place])) for image in (loaded.blurred, result, loaded.sharp)
    )
    height, width = loaded.blurred[place].shape[:2]
    return Crop(label, row, left, top, width, height, (blurred, ours, sharp))


def largest_change(before: Float, after: Float, height: int, width: int) -> tuple[int, int]:
    """Top and left of the window of that size (or of the image's, where that is less) with the largest sum of
    absolute differences."""
    change = np.abs(after - before).sum(2, dtype=np.float64)
    sums: NDArray[np.float64] = np.pad(change.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    h, w = min(height, change.shape[0]), min(width, change.shape[1])
    windows = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(top), int(left)
