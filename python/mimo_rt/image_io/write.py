"""Writing a photo file: the same photo, deblurred, with its metadata, no worse than it was."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image

from mimo_rt.errors import ImageError, make
from mimo_rt.image_io import deep, png, tiff
from mimo_rt.image_io.picture import Picture
from mimo_rt.pixels import Pixels

MIN_QUALITY = 92
"""A deblurred JPEG or WebP is written with at least this quality: its detail is what was worked for."""
_EFFORT = 4
"""Of deflate, 1 to 9: twice as fast as the usual 6 for a few hundredths of the size."""
_SIDES = {"JPEG": 65500, "WEBP": 16383}
_MAX_APP1 = 65533
_NAMES = {"WEBP": "WebP"}


def check_writable(picture: Picture, format: str) -> list[str]:
    """Notes on what a file of this format will not hold of the picture. ImageError where the loss would be of
    pixels.

    To be asked before the work, since the answer does not depend on its result.
    """
    spoken = _NAMES.get(format, format)
    limit = _SIDES.get(format)
    if limit is not None and max(picture.height, picture.width) > limit:
        raise make(
            ImageError,
            "image.too_large",
            f"{spoken} holds at most {limit} pixels a side, not {picture.width}x{picture.height}; write PNG "
            "or TIFF",
        )
    if format in ("JPEG", "BMP") and picture.channels in (2, 4):
        raise make(
            ImageError,
            "image.alpha",
            f"{spoken} has no transparency, which the picture has; write PNG, WebP or TIFF",
        )
    if format == "TIFF":
        tiff.check_size(picture.pixels)
    notes = []
    if picture.bits == 16:
        if format == "PNG" and picture.channels > 1:
            deep.write_png(np.zeros((1, 1, picture.channels), np.uint16), _EFFORT)
        elif format not in ("PNG", "TIFF"):
            notes.append(f"its 16 bits are written as 8, all that {spoken} holds")
    metadata = picture.metadata
    if format != "PNG" and any(kind == b"cICP" for kind, _ in metadata.png_chunks):
        notes.append("its colours are not sRGB, and what they are is told in a way that only PNG holds")
    if format != "JPEG" and (metadata.comment or metadata.iptc):
        notes.append(f"its comment or caption (IPTC) is not kept: {spoken} holds it in other ways")
    if format == "BMP" and (metadata.exif or metadata.icc or metadata.xmp):
        notes.append("BMP holds no EXIF, colour profile or XMP")
    if format == "JPEG":
        for what, block in (("EXIF", metadata.exif), ("XMP", metadata.xmp)):
            if block and len(block) > _MAX_APP1 - 40:
                notes.append(f"its {what} of {len(block)} bytes is too long for JPEG and is left out")
    return notes


def encode(picture: Picture, pixels: Pixels, format: str, *, quality: int | None = None) -> bytes:
    """The bytes of a file of `format` with `pixels`, which are as the picture's are but deblurred, and its
    metadata.

    quality: of JPEG and WebP, 1 to 100; None: the file's own, at least 92, for a JPEG; lossless WebP where
    the source was lossless, else 92.
    """
    if picture.bits == 16 and format in ("JPEG", "WEBP", "BMP"):
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    metadata = picture.metadata
    if format == "TIFF":
        return tiff.encode(pixels, metadata, _EFFORT)
    if format == "PNG" and pixels.dtype == np.uint16 and picture.channels > 1:
        return png.with_metadata(deep.write_png(pixels, _EFFORT), metadata)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if format == "PNG":
        return png.with_metadata(_save(image, "PNG", compress_level=_EFFORT), metadata)
    options: dict[str, Any] = {}
    if format == "JPEG":
        options = {"quality": quality or max(MIN_QUALITY, picture.quality or 95)}
        options["subsampling"] = picture.subsampling or 0
        options["progressive"] = picture.progressive
        if metadata.dpi:
            options["dpi"] = tuple(min(max(round(d), 1), 65535) for d in metadata.dpi)
        if metadata.exif and len(metadata.exif) <= _MAX_APP1 - 40:
            options["exif"] = b"Exif\0\0" + metadata.exif
        if metadata.xmp and len(metadata.xmp) <= _MAX_APP1 - 40:
            options["xmp"] = metadata.xmp
        if metadata.comment:
            options["comment"] = metadata.comment
        options["extra"] = b"".join(
            b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment for segment in metadata.iptc
        )
    elif format == "WEBP":
        options = (
            {"lossless": True}
            if quality is None and picture.lossless
            else {"quality": quality or MIN_QUALITY}
        )
        options["exact"] = True  # keep colours under full transparency
        if metadata.exif:
            options["exif"] = metadata.exif
        if metadata.xmp:
            options["xmp"] = metadata.xmp
    elif format == "BMP" and metadata.dpi:
        options["dpi"] = metadata.dpi
    if metadata.icc and format != "BMP":
        options["icc_profile"] = metadata.icc
    return _save(image, format, **options)


def _save(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **options)
    except (OSError, ValueError) as error:
        raise make(ImageError, "image.encode", f"cannot be written as {format}: {error}") from error
    return buffer.getvalue()
