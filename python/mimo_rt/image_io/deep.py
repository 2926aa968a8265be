"""16-bit colour, which Pillow cannot hold: read and written through the extra `formats`."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable

import numpy as np

from mimo_rt.errors import ImageError, make
from mimo_rt.image_io import png
from mimo_rt.image_io.extra import extra
from mimo_rt.pixels import Pixels

_AS_8_BITS = "it could only be handled as 8 bits"


def is_deep_png(data: bytes) -> bool:
    """Whether a PNG file has 16 bits and more than Pillow's plain 16-bit grey."""
    if len(data) < 33:
        return False
    bits, colour = struct.unpack_from("BB", data, 24)
    return bits == 16 and (colour != 0 or any(kind == b"tRNS" for kind, _ in png.chunks(data)))


def read_png(data: bytes) -> Pixels:
    """uint16 H x W x 2, 3 or 4. ImageError without the extra; decoding errors pass through."""
    codecs = extra("imagecodecs", "a PNG file with 16-bit colour", _AS_8_BITS)
    pixels: Pixels = codecs.png_decode(data)
    transparent = next((body for kind, body in png.chunks(data) if kind == b"tRNS"), None)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if transparent is not None and channels in (1, 3) and len(transparent) == 2 * channels:
        key = np.frombuffer(transparent, ">u2")
        colour = pixels.reshape(*pixels.shape[:2], channels)
        alpha = np.where((colour == key).all(axis=2), 0, 65535).astype(np.uint16)
        pixels = np.concatenate([colour, alpha[:, :, None]], axis=2)
    return pixels


def write_png(pixels: Pixels, effort: int) -> bytes:
    """A plain PNG file of 16 bits from uint16 H x W x 2, 3 or 4. effort: of deflate, 1 to 9."""
    codecs = extra("imagecodecs", "writing a PNG file with 16-bit colour", _AS_8_BITS)
    return bytes(codecs.png_encode(np.ascontiguousarray(pixels), level=effort))


def read_tiff(data: bytes, check_size: Callable[[int, int], None]) -> tuple[Pixels, int]:
    """(uint16 H x W x 2, 3 or 4, orientation tag) of the first page. `check_size` is given widths and heights
    as the decoder sees them, before it decodes. ImageError without the extra, and for what is neither grey
    nor RGB; decoding errors pass through."""
    tifffile = extra("tifffile", "a TIFF file with 16-bit colour", _AS_8_BITS)
    extra("imagecodecs", "a TIFF file with 16-bit colour", _AS_8_BITS)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        check_size(page.imagewidth, page.imagelength)
        if page.is_tiled:
            check_size(page.tilewidth, page.tilelength)
        plain = page.dtype == np.uint16 and int(page.photometric) in (1, 2)
        if not plain or not 2 <= page.samplesperpixel <= 4 or page.imagedepth != 1:
            raise make(
                ImageError,
                "image.mode",
                f"a TIFF file of {page.samplesperpixel} samples of {page.dtype}, {page.photometric.name}, "
                "cannot be deblurred; convert it to RGB",
            )
        # The decoder leaves black where segments are missing.
        segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        whole = len(segments) == math.prod(page.chunked)
        if not whole or any(size < 1 or offset + size > len(data) for offset, size in segments):
            raise make(ImageError, "image.decode", "the TIFF file lacks a part of its pixels")
        if int(page.compression) == 1 and sum(page.databytecounts) < page.size * 2:
            raise make(ImageError, "image.decode", "the TIFF file lacks a part of its pixels")
        pixels: Pixels = page.asarray()
        if pixels.ndim == 3 and int(page.planarconfig) == 2:
            pixels = np.moveaxis(pixels, 0, 2)
        if pixels.shape != (page.imagelength, page.imagewidth, page.samplesperpixel):
            raise make(ImageError, "image.decode", "the TIFF file contradicts itself about its size")
        tag = page.tags.get(274)
        return pixels, int(tag.value) if tag is not None else 1
