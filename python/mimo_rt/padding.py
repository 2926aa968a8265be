"""The padding that a Deblurrer gives an image, and its turns and mirror images, for other runtimes than the
engine.

The engine does both by itself, row by row (`cpp/src/api`); a runtime that takes whole arrays gets the very
same values from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Float: TypeAlias = NDArray[np.float32]


def pad(image: Float, stride: int) -> Float:
    """H x W x C, grown to the right and at the bottom to multiples of `stride`: reflected about the last row
    and column, which is repeated instead where the image is too small to be reflected."""
    for axis in (0, 1):
        size = image.shape[axis]
        amount = -size % stride
        if amount:
            width = [(0, amount if a == axis else 0) for a in range(3)]
            image = np.pad(image, width, mode="reflect" if amount <= size - 1 else "edge")
    return image


def run_padded(network: Callable[[Float], Float], image: Float, stride: int, ensemble: int = 0) -> Float:
    """The result for H x W x 3 of a network that takes and returns (1, 3, H', W'), sides multiples of
    `stride`.

    ensemble: 0, or the mean of the results on the image's 4 turns, or on those of its mirror image too (8).
    Nothing is clipped.
    """

    def once(turned: Float) -> Float:
        height, width = turned.shape[:2]
        planes = np.ascontiguousarray(pad(turned, stride).transpose(2, 0, 1)[np.newaxis])
        result: Float = network(planes)[0].transpose(1, 2, 0)[:height, :width]
        return result

    if not ensemble:
        return np.ascontiguousarray(once(image))
    total = np.zeros_like(image)
    for kind in range(ensemble):
        mirrored = kind >= 4
        result = np.rot90(once(np.rot90(image[:, ::-1] if mirrored else image, kind % 4)), -(kind % 4))
        total += result[:, ::-1] if mirrored else result
    total /= ensemble
    return total
