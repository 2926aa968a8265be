"""Which tile a network of a limited size, on a device of limited memory, runs an image in: the rule of
`cpp/src/tiling/tile_plan.cpp`, for backends that live in Python."""

from __future__ import annotations

from collections.abc import Callable

from mimo_rt.core import Pair


def choose_tile(padded: Pair, halo: int, stride: int, fits: Callable[[Pair], bool]) -> Pair | None:
    """The tile for which the least is computed twice, among those that fit; the whole image where that fits,
    None where nothing does. padded: sides that are multiples of the stride. fits: where a tile fits, so does
    every smaller one."""
    if fits(padded):
        return padded
    halo = -(-halo // stride) * stride

    def most(side: int) -> int:  # tiles along an axis
        return max((side - 2 * halo) // max(stride, 2 * stride - 2 * halo), 1)

    def side_of(count: int, side: int) -> int:  # of so many tiles that cover an axis, as small as may be
        if count == 1:
            return side
        inner = -(-(side - 2 * halo) // count)  # the outermost tiles have one halo
        return -(-inner // stride) * stride + 2 * halo

    best: Pair | None = None
    least = 0
    for down in range(1, most(padded[0]) + 1):
        height = side_of(down, padded[0])
        if best is not None and down * height * padded[1] >= least:
            break  # more rows of tiles only cost more
        low, high = 1, most(padded[1])  # the fewest columns that fit
        if not fits((height, side_of(high, padded[1]))):
            continue
        while low < high:
            middle = (low + high) // 2
            if fits((height, side_of(middle, padded[1]))):
                high = middle
            else:
                low = middle + 1
        width = side_of(low, padded[1])
        area = down * low * height * width
        if best is None or area < least:
            best, least = (height, width), area
    return best


__all__ = ["choose_tile"]
