"""What may be handed to a Deblurrer as an array, and how it is made ready for the core without copying where
possible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimo_rt.errors import ImageError, make

Pixels = NDArray[Any]
"""H x W, or H x W x 1 (grey), 2 (grey, alpha), 3 (colour) or 4 (colour, alpha); uint8, uint16 or float32."""

DTYPES = ("uint8", "uint16", "float32")


def check(array: Pixels) -> None:
    """ImageError, which says what is wrong, unless `array` is `Pixels` and not empty."""
    if array.dtype.newbyteorder("=") not in [np.dtype(name) for name in DTYPES]:
        raise make(
            ImageError,
            "image.dtype",
            f"pixels must be {', '.join(DTYPES[:-1])} or {DTYPES[-1]} (in [0, 1]), not {array.dtype}",
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise make(
            ImageError,
            "image.shape",
            "pixels must be an array (H, W) or (H, W, C) with 1 to 4 channels (grey, grey and alpha, "
            "colour, colour "
            f"and alpha), got {array.shape}",
        )
    if 0 in array.shape:
        raise make(ImageError, "image.empty", f"the image is empty: its shape is {array.shape}")


def readable(array: Pixels) -> Pixels:
    """`array` itself where the core can read it in place, else a copy in native byte order, aligned."""
    if array.dtype.isnative and array.flags.aligned:
        return array
    return array.astype(array.dtype.newbyteorder("="))


def check_out(out: object, array: Pixels) -> None:
    """ImageError unless `out` can take the result for `array`."""
    if not isinstance(out, np.ndarray):
        raise make(ImageError, "image.out", f"out must be an ndarray, not {type(out).__name__}")
    if out.shape != array.shape or out.dtype != array.dtype:
        raise make(
            ImageError,
            "image.out",
            f"out must have shape {array.shape} and dtype {array.dtype} as the image has, not {out.shape} "
            "and "
            f"{out.dtype}",
        )
    if not out.flags.writeable:
        raise make(ImageError, "image.out", "out is read-only")


def colour(array: Pixels) -> Pixels:
    """The part of `array` that the core runs on, as (H, W, C) with C = 1, 3 or 4: a view."""
    if array.ndim == 2:
        return array[:, :, None]
    return array[:, :, :1] if array.shape[2] == 2 else array
