"""For which image sizes a GPU plan is made: one size (a tile), or a range with the one it is best at."""

from __future__ import annotations

from dataclasses import dataclass

from mimo_rt.core import Pair
from mimo_rt.errors import BackendError, make

LARGEST_SIDE = 1 << 14


@dataclass(frozen=True)
class Shapes:
    """(height, width) of the smallest, best and largest image or tile; multiples of the network's stride."""

    smallest: Pair
    best: Pair
    largest: Pair

    @property
    def text(self) -> str:
        """For keys and people."""
        sizes = dict.fromkeys((self.smallest, self.best, self.largest))
        return " ".join(f"{width}x{height}" for height, width in sizes)


RANGE = Shapes((64, 64), (720, 1280), (1088, 1920))
"""What a plan is made for unless told otherwise; larger images are run in tiles of the largest size."""

KEPT = 512
"""Pixels that the largest tile of a range has between its two halos at least, along either side."""


def shapes_for(tile: int | Pair | None, stride: int, halo: int = 0) -> Shapes:
    """One size, rounded up to the stride, for a tile; otherwise the range, its largest size grown where two
    halos would leave too little of a tile. BackendError for sides that no GPU plan is made for."""

    def rounded(size: Pair, least: int = 1) -> Pair:
        height, width = (-(-max(side, least) // stride) * stride for side in size)
        return height, width

    if tile is None:
        return Shapes(rounded(RANGE.smallest), rounded(RANGE.best), rounded(RANGE.largest, 2 * halo + KEPT))
    height, width = (tile, tile) if isinstance(tile, int) else tile
    if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        raise make(
            BackendError,
            "backend.tile",
            f"tile must have sides of 1 to {LARGEST_SIDE} pixels, not {height}x{width}",
        )
    size = rounded((height, width))
    return Shapes(size, size, size)
