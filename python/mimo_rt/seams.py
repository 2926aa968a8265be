"""What a halo smaller than exact costs: the error at the seam between two tiles, measured on an image.

At the places of most texture a strip is run whole and as two tiles that meet in its middle; all that differs
comes from the seam.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimo_rt import pixels
from mimo_rt.deblurrer import Deblurrer
from mimo_rt.engine import Engine
from mimo_rt.scale import top

ROWS = 128
PLACES = 4
_REACH = 64
"""Columns beside the seam, beyond the exact halo, that a strip has."""


def seam_error(engine: Engine, image: NDArray[Any], halo: int) -> float:
    """The largest error of a value in parts of 1, over `PLACES` seams in (H, W) or (H, W, C) of uint8, uint16
    or float32. halo: in pixels. 0.0 for an image too narrow for a seam."""
    pixels.check(image)
    colour = pixels.colour(pixels.readable(np.asarray(image)))
    whole = Deblurrer(engine)
    stride, worst = engine.info.stride, 0.0
    for strip in _strips(colour, engine.info.halo + _REACH, stride):
        middle = strip.shape[1] // 2
        if middle <= halo:  # a tile with this halo would be the strip itself
            continue
        tiled = Deblurrer(engine, tile=(ROWS, middle + halo), halo=halo)
        worst = max(worst, float(np.abs(tiled.run(strip) - whole.run(strip)).max()))
    return worst


def _strips(image: NDArray[Any], reach: int, stride: int) -> list[NDArray[np.float32]]:
    """The strips of most texture about their middle column, (rows, columns, C) float32 in [0, 1], as wide as
    twice `reach` where the image is; their halves are multiples of the stride."""
    half = min(reach, image.shape[1] // 2) // stride * stride
    if half < stride:
        return []
    channels = 1 if image.shape[2] == 1 else 3
    places = []
    for y in range(0, max(1, image.shape[0] - ROWS + 1), ROWS):
        for x in range(half, image.shape[1] - half + 1, max(half // 2, 1)):
            near = image[y : y + ROWS, max(0, x - ROWS // 2) : x + ROWS // 2].astype(np.float32)
            texture = np.abs(np.diff(near, axis=0)).sum() + np.abs(np.diff(near, axis=1)).sum()
            places.append((-float(texture), y, x))
    scale = np.float32(top(image.dtype))
    return [
        np.ascontiguousarray(image[y : y + ROWS, x - half : x + half, :channels] / scale, np.float32)
        for _, y, x in sorted(places)[:PLACES]
    ]
