"""What a PNG file says of itself, read from its chunks without decoding a pixel."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mimo_rt.errors import ImageError, make
from mimo_rt.image_io.png import SIGNATURE

LARGEST_SIDE = 1 << 20
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Header:
    """Size in pixels, and bits and channels of a pixel."""

    width: int
    height: int
    bits: int
    channels: int


_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def read(path: Path, *, checksums: bool = False) -> Header:
    """The header of a PNG file that is whole: its chunks follow one another up to IEND.

    checksums: also read all the data and compare every chunk's checksum, which finds a flipped bit.

    Raises ImageError, "data.unreadable" where the file cannot be read and "data.damaged" where it is no
    whole PNG."""
    try:
        with path.open("rb") as file:
            return _read(path, file, checksums)
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise make(ImageError, "data.unreadable", message) from error


def _read(path: Path, file: BinaryIO, checksums: bool) -> Header:
    def damaged(how: str) -> ImageError:
        return make(ImageError, "data.damaged", f"{path} {how}")

    size = os.fstat(file.fileno()).st_size
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise damaged("is no PNG file")
    at, header, pixels = len(SIGNATURE), None, False
    while True:
        file.seek(at)
        start = file.read(8)
        length, kind = struct.unpack(">I4s", start) if len(start) == 8 else (0, b"")
        if not kind or at + 12 + length > size:
            raise damaged(f"is cut off after {size} bytes")
        if header is None:
            if kind != b"IHDR" or length != 13:
                raise damaged("does not begin with a PNG header")
            header = _header(path, file.read(13))
        if (checksums or kind == b"IHDR") and not _agrees(file, at, length):
            raise damaged(f"is damaged: the checksum of the chunk at byte {at} does not agree")
        pixels = pixels or kind == b"IDAT"
        if kind == b"IEND":
            if not pixels:
                raise damaged("holds no pixels")
            return header
        at += 12 + length


def _header(path: Path, data: bytes) -> Header:
    width, height, bits, colour = struct.unpack(">IIBB", data[:10])
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE) or colour not in _CHANNELS:
        raise make(ImageError, "data.damaged", f"{path} has a header that no picture has")
    return Header(width, height, bits, _CHANNELS[colour])


def _agrees(file: BinaryIO, at: int, length: int) -> bool:
    """Whether the checksum of the chunk at ``at``, over its type and data, is right."""
    file.seek(at + 4)
    total, left = 0, length + 4
    while left > 0:
        block = file.read(min(_BLOCK, left))
        if not block:
            return False
        total = zlib.crc32(block, total)
        left -= len(block)
    return file.read(4) == struct.pack(">I", total)
