"""A network at half or quarter size: y = x + up(net(down x) - down x).

A network sees so and so many pixels around each; a streak of 60 pixels is more than it has been taught.
Shrunk to a quarter the same streak is 15 pixels long. Only what the network changes there is enlarged and
added to the photo, so its grain and whatever detail it has stay. Which size a photo needs:
`mimo_rt.scale_choice`.

Everything here goes elementwise and in a fixed order, band by band, so that the bits depend neither on the
bands nor on anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimo_rt.errors import ImageError, make
from mimo_rt.pixels import Pixels

Float = NDArray[np.float32]

SCALES = (1.0, 0.5, 0.25)
_BAND = 1 << 18
"""About how many values of the photo are in work at a time."""


def checked(scale: float | str) -> float | None:
    """One of `SCALES`, or None for "auto"; ImageError for anything else."""
    if scale == "auto":
        return None
    if not isinstance(scale, str) and scale in SCALES:
        return float(scale)
    raise make(ImageError, "image.scale", f'scale must be 1, 0.5, 0.25 or "auto", not {scale!r}')


def top(dtype: np.dtype[Any]) -> float:
    """The value that stands for 1."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def shrink(image: Pixels, factor: int) -> Float:
    """Means over blocks of factor x factor pixels of (H, W, C), as float32 in [0, 1]: (ceil(H / factor),
    ceil(W / factor), C). Where the last blocks are not whole, the last row and column are repeated."""
    height, width, channels = image.shape
    rows, columns = -(-height // factor), -(-width // factor)
    small = np.empty((rows, columns, channels), np.float32)
    weight = np.float32(1.0 / (factor * factor * top(image.dtype)))
    for first, end in _bands(rows, factor * factor * columns * channels):
        part = image[first * factor : end * factor]
        missing = (end - first) * factor - part.shape[0], columns * factor - width
        if any(missing):
            part = np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        band = part.astype(np.float32)
        across = band[:, 0::factor].copy()
        for offset in range(1, factor):
            across += band[:, offset::factor]
        total = across[0::factor].copy()
        for offset in range(1, factor):
            total += across[offset::factor]
        np.multiply(total, weight, out=small[first:end])
    return small


def add_enlarged(
    image: Pixels, change: Float, factor: int, out: Pixels, told: Callable[[float], object] = lambda _: None
) -> None:
    """out = image + `change` enlarged by `factor`, clipped to the range and rounded once.

    image, out: (H, W, C) of one dtype, not overlapping. change: as `shrink` shapes it, in parts of 1. told:
    called with the fraction done after each band.
    """
    height, width, channels = image.shape
    limit = np.float32(top(image.dtype))
    taps = _taps(factor)
    rows = change.shape[0]
    for first, end in _bands(rows, factor * factor * change.shape[1] * channels):
        tall = _enlarged(change, 0, first, end, taps)
        band = _enlarged(tall, 1, 0, change.shape[1], taps)
        here = slice(first * factor, min(end * factor, height))
        value = band[: here.stop - here.start, :width]
        value *= limit
        value += image[here]
        np.clip(value, 0, limit, out=value)
        if image.dtype.kind == "u":
            value += np.float32(0.5)
            out[here] = value.astype(out.dtype)  # towards zero: floor, since nothing is negative
        else:
            out[here] = value
        told(end / rows)


def _taps(factor: int) -> list[list[tuple[int, np.float32]]]:
    """For each of `factor` positions within a pixel, the (offset, weight) of the four that it is made of:
    the cubic of Keys (a = -1/2), centres of pixels on centres of blocks."""
    phases = []
    for phase in range(factor):
        at = (phase + 0.5) / factor - 0.5
        base = int(np.floor(at))
        t = at - base
        weights = (
            (-t + 2 * t**2 - t**3) / 2,
            (2 - 5 * t**2 + 3 * t**3) / 2,
            (t + 4 * t**2 - 3 * t**3) / 2,
            (-(t**2) + t**3) / 2,
        )
        phases.append([(base - 1 + k, np.float32(weight)) for k, weight in enumerate(weights)])
    return phases


def _enlarged(x: Float, axis: int, first: int, end: int, taps: list[list[tuple[int, np.float32]]]) -> Float:
    """Rows (axis 0) or columns (axis 1) from `first` to before `end` of x, enlarged; the outermost are
    repeated."""
    size, factor = x.shape[axis], len(taps)
    shape = list(x.shape)
    shape[axis] = (end - first) * factor
    result = np.empty(shape, np.float32)
    for phase, weighted in enumerate(taps):
        target = result[phase::factor] if axis == 0 else result[:, phase::factor]
        for k, (offset, weight) in enumerate(weighted):
            place = np.clip(np.arange(first + offset, end + offset), 0, size - 1)
            part = x.take(place, axis=axis)
            part *= weight
            if k == 0:
                target[...] = part
            else:
                target += part
    return result


def _bands(rows: int, values: int) -> Iterator[tuple[int, int]]:
    """(first, end) of bands of rows, each row of so many values."""
    step = max(1, _BAND // values)
    return ((first, min(first + step, rows)) for first in range(0, rows, step))
