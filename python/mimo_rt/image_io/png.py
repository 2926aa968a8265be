"""PNG chunks: what surrounds the pixels of a PNG file, taken out of one and put into another."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from mimo_rt.image_io.picture import Metadata

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"tIME")
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_MAX_CHUNK = 1 << 24


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, data) of every chunk of a PNG file but the pixels; stops at the first that is cut off."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        if kind != b"IDAT":
            yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


def kept_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Chunks that hold true of the deblurred picture: colour space and texts, without XMP and raw profiles,
    which travel as metadata."""
    kept: list[tuple[bytes, bytes]] = []
    for kind, body in chunks(data):
        text = kind in TEXT_CHUNKS and not body.startswith((_XMP_KEYWORD, b"Raw profile type"))
        if (kind in COLOUR_CHUNKS or text) and len(body) <= _MAX_CHUNK:
            kept.append((kind, body))
    return kept


def resolution(data: bytes) -> tuple[float, float] | None:
    """Pixels an inch from pHYs."""
    for kind, body in chunks(data):
        if kind == b"pHYs" and len(body) == 9 and body[8] == 1:
            x, y = struct.unpack_from(">II", body)
            return x * 0.0254, y * 0.0254
    return None


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_metadata(data: bytes, metadata: Metadata) -> bytes:
    """A PNG file, plainly encoded, with the metadata's chunks put after its header."""
    added: list[tuple[bytes, bytes]] = []
    if metadata.icc:
        added.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    for kind, body in metadata.png_chunks:
        if not (metadata.icc and kind == b"sRGB"):  # a file has one of the two
            added.append((kind, body))
    if metadata.dpi:
        x, y = (min(max(round(d / 0.0254), 1), 0x7FFFFFFF) for d in metadata.dpi)
        added.append((b"pHYs", struct.pack(">IIB", x, y, 1)))
    if metadata.exif:
        added.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        added.append((b"iTXt", _XMP_KEYWORD + b"\0\0\0\0\0" + metadata.xmp))
    header = len(SIGNATURE) + 25
    return data[:header] + b"".join(_chunk(*chunk) for chunk in added) + data[header:]
