"""HEIC, what phones store: read through the extra `formats` (pi-heif: libheif with a decoder and no encoder,
released several times a year, wheels for every platform) in a process of its own (`heif_worker.py`). Not
written: few programs read it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mimo_rt.errors import ImageError, make
from mimo_rt.image_io import heif_worker, orient
from mimo_rt.image_io.extra import needs
from mimo_rt.image_io.picture import Metadata, Picture
from mimo_rt.pixels import Pixels

_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_SRGB = [1, 13]
_UNSPECIFIED = 2
"""In the words of ITU-T H.273: (primaries, transfer) of sRGB, and what says nothing."""


def read(data: bytes, check_size: Callable[[int, int], None], max_pixels: int) -> Picture:
    """The main picture, upright: its turns are part of the format and the decoder's work. `check_size` is
    given width and height; what has more than `max_pixels` is not decoded. ImageError without the extra;
    ValueError, with the reason, for what is damaged."""
    needs("pi_heif", "a HEIC file", "it cannot be read")
    head, (exif, xmp, icc, stored) = _decoded(data, max_pixels)
    width, height = head["size"]
    check_size(width, height)
    mode, _, deep = str(head["mode"]).partition(";")
    if mode not in _CHANNELS or deep not in ("", "16"):
        raise make(ImageError, "image.mode", f"a HEIC file of {head['mode']} pixels cannot be deblurred")
    pixels = _rows(stored, width, height, _CHANNELS[mode], head["stride"], np.dtype("<u2" if deep else "u1"))
    metadata = Metadata(exif.removeprefix(b"Exif\0\0") or None, icc or None, xmp or None)
    if not icc and head["colours"] != _SRGB and _UNSPECIFIED not in head["colours"]:
        metadata.png_chunks.append((b"cICP", bytes([*head["colours"], 0, 1])))  # RGB in the full range
    orient.mark_upright(metadata, 1)
    notes = []
    if head["pictures"] > 1:
        notes.append(f"only the main one of its {head['pictures']} pictures was read")
    full = _full_range(pixels, int(head["bits"] or 16)) if deep else pixels
    return Picture(full, "HEIF", metadata, lossless=False, notes=notes)


def _decoded(data: bytes, max_pixels: int) -> tuple[dict[str, Any], list[bytes]]:
    """What the worker says, and EXIF, XMP, ICC profile and pixels."""
    if getattr(sys, "frozen", False) or not sys.executable:  # there is no interpreter to start
        return heif_worker.decoded(data, max_pixels)
    worker = Path(__file__).with_name("heif_worker.py")
    path = [place for place in sys.path if place]
    command = [sys.executable, "-I", str(worker), str(max_pixels), *path]
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    line, newline, rest = done.stdout.partition(b"\n")
    if done.returncode or not newline:
        raise ValueError("its decoder gave up on it")
    head = json.loads(line)
    if "error" in head:
        raise ValueError(head["error"])
    parts, at = [], 0
    for length in head["lengths"]:
        parts.append(rest[at : at + length])
        at += length
    return head, parts


def _rows(stored: bytes, width: int, height: int, channels: int, stride: int, dtype: np.dtype[Any]) -> Pixels:
    """Pixels (H, W) or (H, W, C) out of rows of `stride` bytes. ValueError where there are too few."""
    row = width * channels * dtype.itemsize
    if stride < row or len(stored) < stride * height:
        raise ValueError("a part of its pixels is missing")
    lines = np.frombuffer(stored, np.uint8, stride * height).reshape(height, stride)[:, :row]
    pixels = np.ascontiguousarray(lines).view(dtype).astype(dtype.newbyteorder("="), copy=False)
    return pixels.reshape((height, width, channels) if channels > 1 else (height, width))


def _full_range(pixels: Pixels, bits: int) -> Pixels:
    """16-bit pixels, of which `bits` at the top mean something, so that white is 65535."""
    if not 8 < bits < 16:
        return pixels
    most = (1 << bits) - 1
    levels = (pixels >> (16 - bits)).astype(np.uint32)
    return ((levels * 65535 + most // 2) // most).astype(np.uint16)
