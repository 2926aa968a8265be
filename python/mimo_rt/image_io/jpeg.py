"""How a JPEG file was compressed, so that its successor can be written no worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import JpegImagePlugin

_LUMINANCE = np.array(
    [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14,
        17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49,
        64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ]
)  # fmt: skip
"""Example table K.1 of the JPEG standard, which encoders scale by their quality."""


def _scaled(quality: int) -> NDArray[np.int64]:
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    table: NDArray[np.int64] = np.clip((_LUMINANCE * percent + 50) // 100, 1, 255)
    return table


def quality_of(tables: dict[int, list[int]]) -> int | None:
    """The quality, 1 to 100, whose luminance table is nearest in mean to the file's; None without a table."""
    table = tables.get(0)
    if not table or len(table) != 64:
        return None
    mean = float(np.mean(table))
    return min(range(100, 0, -1), key=lambda quality: abs(float(_scaled(quality).mean()) - mean))


def subsampling_of(image: JpegImagePlugin.JpegImageFile) -> int | None:
    """0, 1, 2 for 4:4:4, 4:2:2, 4:2:0; None for grey images and for anything that cannot be written again."""
    factors = [(h, v) for _, h, v, _ in image.layer]
    if len(factors) != 3 or factors[1] != (1, 1) or factors[2] != (1, 1):
        return None
    return {(1, 1): 0, (2, 1): 1, (2, 2): 2}.get(factors[0])
