"""Orientation: cameras store pixels as the sensor lay and a tag that says how to turn them. Here they are
turned, once."""

from __future__ import annotations

import re

from mimo_rt.image_io import tags
from mimo_rt.image_io.picture import Metadata
from mimo_rt.pixels import Pixels

_XMP_TAG = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>)\s*)([1-8])""")


def orientation(metadata: Metadata) -> int:
    """1 to 8, from EXIF, else from XMP, else 1."""
    if metadata.exif and tags.ORIENTATION in tags.parse(metadata.exif):
        return tags.orientation(metadata.exif)
    match = _XMP_TAG.search(metadata.xmp or b"")
    return int(match.group(2)) if match else 1


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """The pixels turned as the tag says: a view of them."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def mark_upright(metadata: Metadata, orientation: int) -> None:
    """Set the tag to 1 wherever it stands, and swap the resolutions where width and height changed places."""
    if metadata.exif:
        metadata.exif = tags.with_upright(metadata.exif)
    if metadata.xmp:
        metadata.xmp = _XMP_TAG.sub(rb"\g<1>1", metadata.xmp)
    if metadata.dpi and orientation in (5, 6, 7, 8):
        metadata.dpi = metadata.dpi[1], metadata.dpi[0]


__all__ = ["mark_upright", "orientation", "upright"]
