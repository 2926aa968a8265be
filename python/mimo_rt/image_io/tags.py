"""TIFF tags, which EXIF is made of: read from hostile bytes, patched in place, written anew.

An EXIF block is a small TIFF file without pixels: a first directory (camera, date...) and sub-directories
(exposure, place).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ORIENTATION = 0x0112
XMP = 700
ICC = 34675
EXIF, GPS, INTEROP = 0x8769, 0x8825, 0xA005
_SUB_DIRECTORIES = (EXIF, GPS, INTEROP)

ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WORDS = {
    3: 2,
    4: 4,
    5: 4,
    8: 2,
    9: 4,
    10: 4,
    11: 4,
    12: 8,
    13: 4,
}  # bytes of what is swapped with the byte order

PICTURE_TAGS = frozenset(
    {
        254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281, 284, 290,
        291, 292, 293, 297, 301, 317, 320, 321, 322, 323, 324, 325, 330, 332, 333, 334, 336, 338, 339, 340,
        341, 342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, ICC, XMP, 282, 283,
        296,
    }
)  # fmt: skip
"""Tags that say how the pixels of that very file lie, or that travel by themselves (profile, XMP,
resolution)."""


@dataclass
class Entry:
    """One tag: `type` and raw little-endian `data`; or the tags of a sub-directory."""

    type: int
    data: bytes
    children: dict[int, Entry] | None = None

    @property
    def count(self) -> int:
        return len(self.data) // _SIZES[self.type]


Directory = dict[int, Entry]


def _swapped(data: bytes, word: int) -> bytes:
    swapped = bytearray(data)
    for i in range(word):
        swapped[i::word] = data[word - 1 - i :: word]
    return bytes(swapped)


def _header(block: bytes) -> tuple[str, int] | None:
    """Byte order ("<" or ">") and offset of the first directory; None where `block` is not a classic TIFF."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return None
    return order, struct.unpack_from(order + "I", block, 4)[0]


class _Reader:
    """Reads directories out of a block; takes no more bytes out of it than it holds, however often they are
    named."""

    def __init__(self, block: bytes, order: str) -> None:
        self.block, self.order = block, order
        self.budget = len(block)

    def directory(self, offset: int, depth: int = 0) -> Directory:
        block, order = self.block, self.order
        found: Directory = {}
        for at in _entries(block, order, offset):
            tag, kind, count = struct.unpack_from(order + "HHI", block, at)
            size = _SIZES.get(kind, 0) * count
            where = at + 8 if size <= 4 else struct.unpack_from(order + "I", block, at + 8)[0]
            self.budget -= size + 12
            if size == 0 or where + size > len(block) or self.budget < 0:
                continue
            data = block[where : where + size]
            if order == ">" and kind in _WORDS:
                data = _swapped(data, _WORDS[kind])
            entry = Entry(kind, data)
            if tag in _SUB_DIRECTORIES:
                if kind not in (LONG, 13) or count != 1 or depth == 2:
                    continue
                entry.children = self.directory(int.from_bytes(data, "little"), depth + 1)
            found[tag] = entry
        return found


def _entries(block: bytes, order: str, offset: int) -> range:
    """Where the entries of the directory at `offset` lie, as far as they lie inside the block."""
    if offset < 8 or offset + 2 > len(block):
        return range(0)
    (count,) = struct.unpack_from(order + "H", block, offset)
    first = offset + 2
    return range(first, first + 12 * min(count, (len(block) - first) // 12), 12)


def parse(block: bytes) -> Directory:
    """The first directory and its sub-directories; whatever points outside of the block is left out. Never
    raises."""
    header = _header(block)
    return {} if header is None else _Reader(block, header[0]).directory(header[1])


def has_more_pages(block: bytes) -> bool:
    """Whether the first directory names a next one: in a TIFF file a further page."""
    header = _header(block)
    if header is None:
        return False
    entries = _entries(block, *header)
    end = entries.stop
    return (
        len(entries) > 0 and end + 4 <= len(block) and struct.unpack_from(header[0] + "I", block, end)[0] != 0
    )


def serialise(directory: Directory, offset: int) -> bytes:
    """`directory`, its values and its sub-directories, as little-endian bytes that start at `offset` (even)
    of a file."""
    tags = sorted(directory)
    head = 2 + 12 * len(tags) + 4
    table, body = struct.pack("<H", len(tags)), b""
    for tag in tags:
        entry = directory[tag]
        data = entry.data
        if entry.children is not None:
            at = offset + head + len(body)
            body += serialise(entry.children, at)
            data = struct.pack("<I", at)
        if len(data) > 4:
            table += struct.pack(
                "<HHII", tag, entry.type, len(data) // _SIZES[entry.type], offset + head + len(body)
            )
            body += data + b"\0" * (len(data) % 2)
        else:
            table += struct.pack("<HHI", tag, entry.type, len(data) // _SIZES[entry.type]) + data.ljust(
                4, b"\0"
            )
    return table + struct.pack("<I", 0) + body


def block(directory: Directory) -> bytes:
    """An EXIF block of its own: header and `directory`."""
    return struct.pack("<2sHI", b"II", 42, 8) + serialise(directory, 8)


def number(directory: Directory, tag: int) -> int | None:
    """The first value of a SHORT or LONG tag."""
    entry = directory.get(tag)
    if entry is None or entry.type not in (SHORT, LONG):
        return None
    return int.from_bytes(entry.data[: _SIZES[entry.type]], "little")


def resolution(directory: Directory) -> tuple[float, float] | None:
    """Pixels an inch, from XResolution, YResolution and their unit; None where the unit is not a length."""
    unit = {2: 1.0, 3: 2.54}.get(number(directory, 296) or 2)
    values = []
    for tag in (282, 283):
        entry = directory.get(tag)
        if unit is None or entry is None or entry.type != RATIONAL:
            return None
        numerator, denominator = struct.unpack_from("<II", entry.data)
        if numerator == 0 or denominator == 0:
            return None
        values.append(numerator / denominator * unit)
    return values[0], values[1]


def orientation(exif: bytes) -> int:
    """The orientation tag of an EXIF block: 1 to 8, and 1 where it has none or a senseless one."""
    value = number(parse(exif), ORIENTATION) or 1
    return value if value <= 8 else 1


def with_upright(exif: bytes) -> bytes:
    """The very same EXIF block with its orientation tag, where it has one, set to 1, and without a way to its
    second directory: the thumbnail there is of the old picture, and lies as that did."""
    header = _header(exif)
    if header is None:
        return exif
    order, offset = header
    patched = bytearray(exif)
    for at in _entries(exif, order, offset):
        tag, kind, count = struct.unpack_from(order + "HHI", exif, at)
        if tag == ORIENTATION and kind == SHORT and count == 1:
            struct.pack_into(order + "H", patched, at + 8, 1)
    end = _entries(exif, order, offset).stop
    if 8 < end <= len(exif) - 4:
        struct.pack_into(order + "I", patched, end, 0)
    return bytes(patched)
