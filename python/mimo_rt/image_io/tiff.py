"""Writing TIFF: 8 and 16 bits, grey or RGB with or without alpha, deflate with a predictor, with all tags.

Pillow cannot write 16-bit colour, and its compressed files lose the EXIF directory; the format itself is
simple.
"""

from __future__ import annotations

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mimo_rt.errors import ImageError, make
from mimo_rt.image_io import tags
from mimo_rt.image_io.picture import Metadata
from mimo_rt.pixels import Pixels

_STRIP = 1 << 20


def encode(pixels: Pixels, metadata: Metadata, effort: int) -> bytes:
    """A little-endian TIFF file. effort: of deflate, 1 to 9.

    ImageError where it would pass the format's 4 GB.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    stored = pixels.reshape(height, width, channels)
    rows = max(1, _STRIP // (width * channels * pixels.dtype.itemsize))

    def strip(top: int) -> bytes:
        part = stored[top : top + rows].astype(pixels.dtype.newbyteorder("<"))
        part[:, 1:] -= part[:, :-1].copy()  # horizontal differencing, modulo the sample's range
        return zlib.compress(part.tobytes(), effort)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        strips = list(pool.map(strip, range(0, height, rows)))

    def shorts(*values: int) -> tags.Entry:
        return tags.Entry(tags.SHORT, struct.pack(f"<{len(values)}H", *values))

    def longs(values: list[int]) -> tags.Entry:
        return tags.Entry(tags.LONG, struct.pack(f"<{len(values)}I", *values))

    directory: tags.Directory = {}
    if metadata.exif:
        directory = {t: e for t, e in tags.parse(metadata.exif).items() if t not in tags.PICTURE_TAGS}
    directory[256], directory[257] = longs([width]), longs([height])
    directory[258] = shorts(*[pixels.dtype.itemsize * 8] * channels)
    directory[259] = shorts(8)  # deflate
    directory[262] = shorts(2 if channels >= 3 else 1)  # RGB, or grey with black as 0
    directory[tags.ORIENTATION] = shorts(1)
    directory[277] = shorts(channels)
    directory[278] = longs([rows])
    directory[284] = shorts(1)
    directory[317] = shorts(2)
    if channels in (2, 4):
        directory[338] = shorts(2)  # alpha that is not multiplied in
    if metadata.dpi:
        for tag, value in zip((282, 283), metadata.dpi, strict=True):
            directory[tag] = tags.Entry(
                tags.RATIONAL, struct.pack("<II", min(round(value * 10000), 2**32 - 1), 10000)
            )
        directory[296] = shorts(2)
    if metadata.icc:
        directory[tags.ICC] = tags.Entry(tags.UNDEFINED, metadata.icc)
    if metadata.xmp:
        directory[tags.XMP] = tags.Entry(1, metadata.xmp)

    offsets, at = [], 8
    for data in strips:
        offsets.append(at)
        at += len(data) + len(data) % 2
    if at + (1 << 26) >= 1 << 32:
        raise make(ImageError, "image.too_large", "the picture is too large for a TIFF file (4 GB)")
    directory[273], directory[279] = longs(offsets), longs([len(data) for data in strips])
    parts = [struct.pack("<2sHI", b"II", 42, at)]
    for data in strips:
        parts += data, b"\0" * (len(data) % 2)
    return b"".join([*parts, tags.serialise(directory, at)])


def check_size(pixels: Pixels) -> None:
    """ImageError for what `encode` surely cannot hold, before any work is done."""
    if np.prod(pixels.shape, dtype=np.int64) * pixels.dtype.itemsize > 16 << 32:
        raise make(ImageError, "image.too_large", "the picture is too large for a TIFF file (4 GB)")
